"""``/v1/images/edits``: pictures come as a form, piece by piece, or as the ids of files."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import InputError
from headrace.http.bodies import read_json
from headrace.http.entry import Caller, Entry
from headrace.http.multipart import Form
from headrace.http.online import Online
from headrace.http.problems import TooLargeError
from headrace.openai_body import EDITS, source_names
from headrace.photo import PHOTO_BYTES_MAX
from headrace.sent_pictures import Sources, keep_picture
from headrace.spool import Spool

PICTURES_MAX = 16
FORM_BYTES_MAX = 200 * 1024 * 1024
FIELD_BYTES_MAX = 256 * 1024
MEDIA_TYPE = "application/octet-stream"
_PARTS = {"image": "image", "image[]": "image", "mask": "mask"}
_NUMBERS = ("n", "output_compression", "partial_images")


class Edits:
    """The route of edits; what is sent along is kept as files of the tenant for a week."""

    def __init__(self, engine: Engine, entry: Entry, online: Online) -> None:
        self._engine = engine
        self._entry = entry
        self._online = online

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter()
        router.add_api_route(EDITS, self.edit, methods=["POST"])
        return router

    async def edit(self, request: Request) -> Response:
        """Make images out of others."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        if request.headers.get("content-type", "").startswith("application/json"):
            body = await self._named(caller, await read_json(request))
        else:
            body = await self._sent(request, caller)
        return await self._online.pictures(request, caller, EDITS, body)

    async def _named(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body of a call that names files, with those by hash."""
        names = [name for names in source_names(body).values() for name in names]
        sources = Sources(self._engine.files, caller.tenant_id)
        await sources.look_up(names[: PICTURES_MAX + 2])
        return sources.placed(body)

    async def _sent(self, request: Request, caller: Caller) -> dict[str, Any]:
        """Return the body of a form, its pictures kept and by hash."""
        form = Form(request, frozenset(_PARTS), PICTURES_MAX + 1, field_bytes_max=FIELD_BYTES_MAX)
        blobs = self._engine.blobs
        async with AsyncExitStack() as stack:
            spools: list[Spool] = []
            async for place, piece in _pieces(request, form):
                while len(spools) <= place:
                    opened = blobs.spool(MEDIA_TYPE, PHOTO_BYTES_MAX)
                    spools.append(await stack.enter_async_context(opened))
                await spools[place].write(piece)
            images: list[str] = []
            masks: list[str] = []
            for (part, name), spool in zip(form.files, spools, strict=True):
                kept = await keep_picture(
                    self._engine.files, caller.tenant_id, name, await spool.commit()
                )
                (masks if _PARTS[part] == "mask" else images).append(kept)
        if len(masks) > 1:
            raise InputError("an edit takes one mask at most")
        body: dict[str, Any] = {**_fields(form.fields), "image": images}
        return {**body, "mask": masks[0]} if masks else body


async def _pieces(request: Request, form: Form) -> Any:
    """Yield the pieces of a form's files, each with the file's place; raises ``InputError``."""
    size = 0
    sizes: dict[int, int] = {}
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > FORM_BYTES_MAX:
                raise TooLargeError(f"the form has more than {FORM_BYTES_MAX:,} bytes")
            for place, piece in form.feed_files(chunk):
                sizes[place] = sizes.get(place, 0) + len(piece)
                if sizes[place] > PHOTO_BYTES_MAX:
                    raise TooLargeError(f"a picture has more than {PHOTO_BYTES_MAX:,} bytes")
                yield place, piece
    except ClientDisconnect:
        raise InputError("the sender has hung up", remedy="Send the pictures again.") from None
    form.finish()
    if len(sizes) < len(form.files):
        raise InputError("a picture has no bytes", remedy="Send the file itself.")


def _fields(told: dict[str, str]) -> dict[str, Any]:
    """Return the short parts of a form as a JSON body would have them."""
    found: dict[str, Any] = dict(told)
    for name in _NUMBERS:
        if name in found:
            digits = told[name].isascii() and told[name].isdecimal() and len(told[name]) < 10
            found[name] = int(told[name]) if digits else told[name]
    if "stream" in found:
        found["stream"] = told["stream"].lower() in ("true", "1")
    return found
