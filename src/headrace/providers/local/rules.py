"""The rules of a check, applied to an artifact's bytes: the answer is the reasons, or none."""

from __future__ import annotations

from typing import Any

from headrace.brand import breaches
from headrace.errors import InputError
from headrace.json_text import NotJsonError, read_json
from headrace.providers.local.pixels import is_blank, open_picture

_PIXEL_RULES = frozenset(
    {"width", "height", "width_min", "width_max", "height_min", "height_max", "not_blank"}
)
_TEXT_RULES = frozenset({"chars_min", "chars_max", "required", "forbidden", "brand", "schema"})


def broken_rules(body: bytes, params: dict[str, Any]) -> list[str]:
    """Return what rules of ``params`` a body breaks, none when it keeps them all.

    Of a text's phrases, bounds and schema all are told, of other rules the first.
    """
    reason = _broken_rule(body, params)
    if reason is not None:
        return [reason]
    rules = params["rules"]
    return _broken_text(body, rules) if _TEXT_RULES & rules.keys() else []


def _broken_rule(body: bytes, params: dict[str, Any]) -> str | None:
    rules = params["rules"]
    media_type = params["media_type"].partition(";")[0].strip().lower()
    wanted = rules.get("media_types")
    if wanted and not any(_is_type(media_type, pattern) for pattern in wanted):
        return f"its media type is {media_type}, not {' or '.join(wanted)}"
    reason = _between("size", "bytes", len(body), rules.get("bytes_min"), rules.get("bytes_max"))
    if reason is None and _PIXEL_RULES & rules.keys():
        reason = _broken_pixels(body, rules)
    return reason


def _is_type(media_type: str, pattern: str) -> bool:
    wanted = pattern.lower()
    return media_type.startswith(wanted[:-1]) if wanted.endswith("/*") else media_type == wanted


def _broken_pixels(body: bytes, rules: dict[str, Any]) -> str | None:
    try:
        image = open_picture(body)
    except InputError as error:
        return error.message
    for side, length in (("width", image.width), ("height", image.height)):
        exact = rules.get(side)
        if exact is not None and length != exact:
            return f"its {side} is {length} px, not {exact}"
        reason = _between(side, "px", length, rules.get(f"{side}_min"), rules.get(f"{side}_max"))
        if reason is not None:
            return reason
    if rules.get("not_blank") and is_blank(image):
        return "it is blank: one single color"
    return None


def _broken_text(body: bytes, rules: dict[str, Any]) -> list[str]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return ["it is not UTF-8 text"]
    length = len(text.strip())
    reason = _between(
        "length", "characters", length, rules.get("chars_min"), rules.get("chars_max")
    )
    found = [] if reason is None else [reason]
    folded = text.casefold()
    for phrase in rules.get("required", ()):
        if phrase.casefold() not in folded:
            found.append(f"it lacks the phrase {phrase!r}")
    for phrase in rules.get("forbidden", ()):
        if phrase.casefold() in folded:
            found.append(f"it holds the forbidden phrase {phrase!r}")
    if "brand" in rules:
        found += breaches(text, rules["brand"])
    if "schema" in rules:
        found += _broken_schema(text, rules["schema"])
    return found


def _broken_schema(text: str, schema: dict[str, Any]) -> list[str]:
    from headrace.json_schema import misfits

    try:
        return misfits(read_json(text), schema)
    except NotJsonError as error:
        return [str(error)]


def _between(what: str, unit: str, value: int, least: int | None, most: int | None) -> str | None:
    if least is not None and value < least:
        return f"its {what} is {value:,} {unit}, below {least:,}"
    if most is not None and value > most:
        return f"its {what} is {value:,} {unit}, above {most:,}"
    return None
