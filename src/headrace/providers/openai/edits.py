"""The form in which an OpenAI-shaped API is asked to edit images."""

from __future__ import annotations

from typing import Any

from headrace.outcome import OutcomeKind, failed
from headrace.providers.openai.messages import Pictures, Spelling, encode, picture_type
from headrace.providers.remote.letters import Parcel
from headrace.request import Request

PLACES = ("image", "mask")
"""The params that a form has a place for."""
PICTURES_MAX = 16


def edit_form(request: Request, spelling: Spelling, pictures: Pictures) -> Parcel:
    """Return the form: pictures and mask as files, all other params as text.

    Raises ``CallFailed`` (invalid) for sources that the form has no place for.
    """
    form = Parcel()
    form.field("model", request.model)
    if "prompt" in request.params:
        form.field("prompt", _text(request.params["prompt"]))
    for name, value in spelling.params(request).items():
        if value is not None:
            form.field(name, _text(value))
    _check(pictures)
    for name, bodies in pictures.items():
        field = name if len(bodies) == 1 else f"{name}[]"
        for number, body in enumerate(bodies, start=1):
            media_type = picture_type(body)
            filename = f"{name}-{number}.{media_type.removeprefix('image/')}"
            form.file(field, filename, body, media_type)
    return form


def _check(pictures: Pictures) -> None:
    for name in pictures:
        if name not in PLACES:
            raise failed(
                OutcomeKind.INVALID,
                f"an edit has no place for the source {name!r}",
                remedy="Call it image or mask.",
            )
    count = sum(len(bodies) for name, bodies in pictures.items() if name != "mask")
    if not 1 <= count <= PICTURES_MAX or len(pictures.get("mask", ())) > 1:
        raise failed(
            OutcomeKind.INVALID,
            f"an edit takes 1 to {PICTURES_MAX} images and at most one mask, not {count}",
            remedy="Change the stage's sources.",
        )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode(value).decode()
