"""Reads what a call used from the usage objects of the APIs; ``None`` where one cannot be priced.

The counts come from strangers: a negative, absurd or contradictory one makes the whole
object unreadable, so that the cost is unknown rather than wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headrace.price_table import Usage

COUNT_MAX = 10**12
_USUAL = {
    "service_tier": (None, "standard"),
    "speed": (None, "standard"),
    "inference_geo": (None, "global", "not_available"),
}


class _UnclearError(Exception):
    """The object holds a count that cannot be true, or something that has no price here."""


def openai_text(usage: Any) -> Usage | None:
    """Return the usage of OpenAI's chat (``prompt_tokens``) or responses (``input_tokens``).

    Reasoning tokens are part of the output. Audio has prices of its own: unknown.
    """
    try:
        told = _object(usage)
        into = _count(told, "prompt_tokens", "input_tokens")
        out = _count(told, "completion_tokens", "output_tokens")
        details = _part(told, "prompt_tokens_details", "input_tokens_details")
        more = _part(told, "completion_tokens_details", "output_tokens_details")
        if _count(details, "audio_tokens") or _count(more, "audio_tokens"):
            return None
        cached = _count(details, "cached_tokens")
        written = _count(details, "cache_write_tokens", "cache_creation_tokens")
        return _some(
            Usage(
                input_tokens=_less(into, cached + written),
                cached_tokens=cached,
                cache_write_tokens=written,
                output_tokens=out,
            )
        )
    except _UnclearError:
        return None


def openai_image(usage: Any, size: Any = "", quality: Any = "", images: int = 1) -> Usage | None:
    """Return the usage of OpenAI's images: text and image tokens apart, as the API tells them.

    Without a usage object, the images themselves with their ``size`` and ``quality``.
    """
    try:
        told = _object(usage) if usage is not None else {}
        details = _part(told, "input_tokens_details")
        more = _part(told, "output_tokens_details")
        image_input = _count(details, "image_tokens")
        text_output = _count(more, "text_tokens")
        return Usage(
            input_tokens=_less(_count(told, "input_tokens"), image_input),
            image_input_tokens=image_input,
            output_tokens=text_output,
            image_output_tokens=_less(_count(told, "output_tokens"), text_output),
            images=images,
            size=size.lower() if isinstance(size, str) else "",
            quality=quality.lower() if isinstance(quality, str) else "",
        )
    except _UnclearError:
        return None


def anthropic(usage: Any) -> Usage | None:
    """Return the usage of an Anthropic message; ``input_tokens`` leave out what was cached.

    Tools that the server ran, what was cached for an hour, and tiers, speeds and places other
    than the standard ones have prices of their own: unknown.
    """
    try:
        told = _object(usage)
        tools, cached = _part(told, "server_tool_use"), _part(told, "cache_creation")
        if _count(cached, "ephemeral_1h_input_tokens"):
            return None
        if any(told.get(name) not in usual for name, usual in _USUAL.items()) or any(
            _count(tools, name) for name in tools
        ):
            return None
        return _some(
            Usage(
                input_tokens=_count(told, "input_tokens"),
                cached_tokens=_count(told, "cache_read_input_tokens"),
                cache_write_tokens=_count(told, "cache_creation_input_tokens"),
                output_tokens=_count(told, "output_tokens"),
            )
        )
    except _UnclearError:
        return None


def gemini(usage: Any, images: int = 0) -> Usage | None:
    """Return the usage of a Gemini ``usageMetadata``: thinking is output, parts by modality.

    Audio and video have prices of their own: unknown.
    """
    try:
        told = _object(usage)
        into = _count(told, "promptTokenCount") + _count(told, "toolUsePromptTokenCount")
        out = _count(told, "candidatesTokenCount")
        image_input = _modality(told.get("promptTokensDetails"))
        image_output = _modality(told.get("candidatesTokensDetails"))
        cached = _count(told, "cachedContentTokenCount")
        # What was cached is told without its modality here; text comes first.
        image_input = min(image_input, _less(into, cached))
        return _some(
            Usage(
                input_tokens=_less(into, cached + image_input),
                cached_tokens=cached,
                output_tokens=_less(out, image_output) + _count(told, "thoughtsTokenCount"),
                image_input_tokens=image_input,
                image_output_tokens=image_output,
                images=images,
            )
        )
    except _UnclearError:
        return None


def replicate(metrics: Any, images: int) -> Usage | None:
    """Return the usage of a Replicate prediction that gave so many ``images``, by its metrics.

    ``predict_time`` are the seconds that it computed. Metrics that count images or tokens
    count before ``images``.
    """
    try:
        told = _object(metrics) if metrics is not None else {}
        seconds = told.get("predict_time")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            seconds = None
        return Usage(
            input_tokens=_count(told, "input_token_count"),
            output_tokens=_count(told, "output_token_count"),
            images=_count(told, "image_count") or images,
            seconds=seconds if seconds is not None and 0 <= seconds <= COUNT_MAX else None,
        )
    except _UnclearError:
        return None


def _some(usage: Usage) -> Usage | None:
    """Return ``usage`` if it counts anything: an empty object tells nothing."""
    return usage if usage != Usage() else None


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _UnclearError
    return value


def _part(told: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        value = told.get(name)
        if isinstance(value, Mapping):
            return value
    return {}


def _count(told: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = told.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 <= value <= COUNT_MAX:
            raise _UnclearError
        return value
    return 0


def _less(whole: int, part: int) -> int:
    if part > whole:
        raise _UnclearError
    return whole - part


def _modality(details: Any) -> int:
    """Return the image tokens in a list of counts by modality."""
    found = 0
    for one in details if isinstance(details, Iterable) else ():
        kind = _object(one).get("modality")
        tokens = _count(_object(one), "tokenCount")
        if kind == "IMAGE":
            found += tokens
        elif kind not in ("TEXT", "DOCUMENT", "MODALITY_UNSPECIFIED", None) and tokens:
            raise _UnclearError
    return found
