"""The rules of a check, applied to an artifact's bytes: the answer is a reason, or none."""

from __future__ import annotations

from typing import Any

from headrace.errors import InputError
from headrace.providers.pixels import is_blank, open_picture

_PIXEL_RULES = frozenset(
    {"width", "height", "width_min", "width_max", "height_min", "height_max", "not_blank"}
)
_TEXT_RULES = frozenset({"chars_min", "chars_max", "required", "forbidden"})


def broken_rule(body: bytes, params: dict[str, Any]) -> str | None:
    """Return why ``body`` breaks a rule of ``params``, ``None`` when it keeps them all."""
    rules = params["rules"]
    media_type = params["media_type"].partition(";")[0].strip().lower()
    wanted = rules.get("media_types")
    if wanted and not any(_is_type(media_type, pattern) for pattern in wanted):
        return f"its media type is {media_type}, not {' or '.join(wanted)}"
    reason = _between("size", "bytes", len(body), rules.get("bytes_min"), rules.get("bytes_max"))
    if reason is None and _PIXEL_RULES & rules.keys():
        reason = _broken_pixels(body, rules)
    if reason is None and _TEXT_RULES & rules.keys():
        reason = _broken_text(body, rules)
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


def _broken_text(body: bytes, rules: dict[str, Any]) -> str | None:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return "it is not UTF-8 text"
    length = len(text.strip())
    reason = _between(
        "length", "characters", length, rules.get("chars_min"), rules.get("chars_max")
    )
    if reason is not None:
        return reason
    folded = text.casefold()
    for phrase in rules.get("required", ()):
        if phrase.casefold() not in folded:
            return f"it lacks the phrase {phrase!r}"
    for phrase in rules.get("forbidden", ()):
        if phrase.casefold() in folded:
            return f"it holds the forbidden phrase {phrase!r}"
    return None


def _between(what: str, unit: str, value: int, least: int | None, most: int | None) -> str | None:
    if least is not None and value < least:
        return f"its {what} is {value:,} {unit}, below {least:,}"
    if most is not None and value > most:
        return f"its {what} is {value:,} {unit}, above {most:,}"
    return None
