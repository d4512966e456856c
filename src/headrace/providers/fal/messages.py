"""What is said to fal's queue and what it says back, as values; nothing is sent here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

from headrace.price_table import Usage
from headrace.providers.remote.cell_numbers import Kind, cell_value, wrong_cell
from headrace.providers.remote.http_calls import read_object

OURS = ("output", "output_index")
"""Params that say which result of a reply is meant; they are not sent."""

PLACES = (
    "images",
    "image",
    "video",
    "videos",
    "audio",
    "audio_file",
    "audio_url",
    "image_url",
    "video_url",
    "file",
)
"""Where models put their results, looked through in this order."""

NUMBERS: dict[str, Kind] = {
    "num_images": int,
    "num_inference_steps": int,
    "num_frames": int,
    "frames_per_second": int,
    "fps": int,
    "seed": int,
    "width": int,
    "height": int,
    "motion_bucket_id": int,
    "guidance_scale": float,
    "cfg_scale": float,
    "strength": float,
    "upscale_factor": float,
    "enable_safety_checker": bool,
    "enable_prompt_expansion": bool,
    "generate_audio": bool,
}
"""Params that are numbers with all of fal's models; ``duration`` is a text with some."""

INDEX_MAX = 100
_FIXED = {
    "sync_mode": "results are fetched by their address",
    "webhook_url": "headrace asks for the result itself",
}
_MODEL = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*){1,7}", re.ASCII)
_SPACES = ("workflows", "comfy")
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PLACE = re.compile(r"[\w-]{1,60}(?:\.[\w-]{1,60}){0,5}", re.ASCII)
_UNITS = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_GOING_ON = ("IN_QUEUE", "IN_PROGRESS")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that was taken in; the addresses are as the reply has them, of any type."""

    id: str
    status_url: Any = None
    response_url: Any = None
    cancel_url: Any = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands; ``failed``: it is done and told an error. ``work_s`` is its run time."""

    done: bool
    failed: bool = False
    response_url: Any = None
    work_s: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The one result of a reply: the address of a file, or the text at a named place."""

    address: str | None = None
    text: str | None = None
    refused: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


def wrong_model(model: str) -> str:
    """Return what is wrong with a model's name, empty when nothing is."""
    if _MODEL.fullmatch(model) and len(model) <= 200:
        return ""
    return f"{model[:80]!r} is no model of fal: they are written owner/app, owner/app/path"


def requests_path(model: str) -> str:
    """Return the path of a model's jobs: its owner and app, without what follows them."""
    parts = model.split("/")
    return "/".join([*parts[: 3 if parts[0] in _SPACES else 2], "requests"])


def wrong_param(name: str, value: Any) -> str:
    """Return what is wrong with a parameter, empty when nothing is."""
    if name in _FIXED:
        return f"{name!r} cannot be set: {_FIXED[name]}"
    if name == "num_images" and cell_value(value, int) != 1:
        return "num_images must be 1: each item is one result"
    if name == "output" and not (isinstance(value, str) and _PLACE.fullmatch(value)):
        return f"output = {str(value)[:80]!r} is no place in a reply, such as images or audio.url"
    if name == "output_index":
        index = cell_value(value, int)
        good = index is not None and 0 <= index < INDEX_MAX
        return "" if good else f"output_index = {str(value)[:80]!r} is no number from 0"
    return wrong_cell(name, value, NUMBERS[name]) if name in NUMBERS else ""


def input_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is sent: all params but ours, texts of cells turned into numbers."""
    return {
        name: cell_value(value, NUMBERS[name]) if name in NUMBERS else value
        for name, value in params.items()
        if name not in OURS
    }


def is_id(value: Any) -> bool:
    """Tell whether a value can be the id of a job."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def read_accepted(body: bytes) -> Accepted | None:
    """Return the job that an answer tells of, ``None`` when it names none."""
    told = read_object(body)
    if told is None or not is_id(told.get("request_id")):
        return None
    return Accepted(
        told["request_id"],
        told.get("status_url"),
        told.get("response_url"),
        told.get("cancel_url"),
    )


def read_standing(body: bytes) -> Standing:
    """Return how a job stands; whatever is not known is one that goes on."""
    told = read_object(body) or {}
    if told.get("status") != "COMPLETED":
        return Standing(done=False)
    metrics = told.get("metrics")
    took = metrics.get("inference_time") if isinstance(metrics, dict) else None
    took_s = cell_value(took, float)
    return Standing(
        done=True,
        failed=bool(told.get("error") or told.get("error_type")),
        response_url=told.get("response_url"),
        work_s=float(took_s) if took_s is not None and 0 <= took_s < 1e7 else None,
    )


def is_going_on(reply: Mapping[str, Any]) -> bool:
    """Tell whether an answer says that the job has not ended, where its result should be."""
    return reply.get("status") in _GOING_ON


def read_result(reply: Mapping[str, Any], place: str | None, index: int = 0) -> Found | None:
    """Return the result at ``place`` (any known one by default); ``None`` when there is none."""
    for name in PLACES if place is None else (place,):
        files = _files(_at(reply, name), with_texts=place is not None)
        if not files:
            continue
        if index >= len(files):
            return None
        facts = _plain_facts(reply)
        if name.partition(".")[0] in ("images", "image"):
            facts["usage"] = {"images": len(files)}
        chosen, refused = files[index], _is_flagged(reply, index)
        if isinstance(chosen, dict):
            return Found(chosen["url"], None, refused, facts | _sizes(chosen))
        if _is_address(chosen):
            return Found(chosen, None, refused, facts)
        return Found(None, chosen, refused, facts)
    return None


def wanted_of(params: Mapping[str, Any]) -> tuple[str | None, int]:
    """Return the place and the index of the result that the params ask for."""
    place, index = params.get("output"), cell_value(params.get("output_index", 0), int)
    return (place if isinstance(place, str) else None), int(index or 0)


def picture(params: Mapping[str, Any]) -> Usage:
    """Return what a call uses where its model is billed by the picture."""
    size = params.get("resolution", "")
    return Usage(images=1, size=size if isinstance(size, str) else "")


def has_place(reply: Mapping[str, Any], place: str | None) -> bool:
    """Tell whether the place of a result is there, though nothing be in it."""
    if place is None:
        return any(name in reply for name in PLACES)
    return place.partition(".")[0] in reply


def read_units(header: str | None) -> Decimal | None:
    """Return the billable units that a header tells, ``None`` when it tells none."""
    if header is None or not _UNITS.fullmatch(header.strip()):
        return None
    try:
        return Decimal(header.strip())
    except InvalidOperation:
        return None


def cost_of(units: Decimal | None, unit_price: Decimal | None) -> int | None:
    """Return the cost in micro-USD, rounded up, ``None`` unless both are known."""
    if units is None or unit_price is None:
        return None
    return int((units * unit_price).to_integral_value(ROUND_CEILING))


def _at(value: Any, place: str) -> Any:
    for step in place.split("."):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _files(value: Any, with_texts: bool) -> list[Any]:
    """Return what of a value can be a result: objects with an address, addresses, texts."""
    told = value[:INDEX_MAX] if isinstance(value, list) else [value]
    return [one for one in told if _is_file(one) or _is_text(one, with_texts)]


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("url"), str) and bool(value["url"])


def _is_text(value: Any, with_texts: bool) -> bool:
    return isinstance(value, str) and (_is_address(value) or (with_texts and bool(value)))


def _is_address(text: str) -> bool:
    return text[:8].lower().startswith(("https://", "http://", "data:"))


def _is_flagged(reply: Mapping[str, Any], index: int) -> bool:
    """Tell whether the chosen picture was blacked out; flags stand beside the pictures."""
    flags = reply.get("has_nsfw_concepts")
    if isinstance(flags, list):
        return bool(flags) and flags[min(index, len(flags) - 1)] is True
    return flags is True


def _plain_facts(reply: Mapping[str, Any]) -> dict[str, Any]:
    seed = reply.get("seed")
    return {"seed": seed} if type(seed) is int and abs(seed) < 1 << 63 else {}


def _sizes(file: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: file[name]
        for name in ("width", "height")
        if type(file.get(name)) is int and 0 < file[name] < 1 << 31
    }
