"""``/v1/files``, as OpenAI's clients speak it: files go to the blob store piece by piece."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import InputError, NotFoundError
from headrace.files import read_file_id, show_file_id
from headrace.http.answer_keys import AnswerKeys, key_of
from headrace.http.entry import Entry
from headrace.http.multipart import Form
from headrace.http.ownership import plain
from headrace.http.problems import TooLargeError
from headrace.sent_pictures import PURPOSE, add_picture
from headrace.spool import Spool
from headrace.store.files import File, Page

FILE_BYTES_MAX = 200 * 1024 * 1024
FORM_BYTES_MAX = 256 * 1024
"""What a form may hold beside its file."""

PAGE_MAX = 10_000
EXPIRES_S = (3600, 2_592_000)
MEDIA_TYPE = "application/jsonl"
PURPOSES = ("batch", "vision")
"""What a file may be for that comes in: requests, or a picture that edits name."""


class FileRoutes:
    """The routes of files; a tenant sees its own only."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._engine = engine
        self._entry = entry
        self._keys = AnswerKeys(engine.database, engine.clock)

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/v1/files")
        router.add_api_route("", self.create, methods=["POST"])
        router.add_api_route("", self.listed, methods=["GET"])
        router.add_api_route("/{file_id}", self.show, methods=["GET"])
        router.add_api_route("/{file_id}", self.delete, methods=["DELETE"])
        router.add_api_route("/{file_id}/content", self.content, methods=["GET"])
        return router

    async def create(self, request: Request) -> JSONResponse:
        """Take a file in."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        form = Form(request)
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told[:20]) > FILE_BYTES_MAX + FORM_BYTES_MAX:
            raise _too_large()
        async with self._engine.blobs.spool(MEDIA_TYPE) as spool:
            await _receive(request, form, spool)
            purpose = form.fields.get("purpose", "")
            if purpose not in PURPOSES:
                raise InputError(
                    'purpose must be "batch" or "vision"', remedy="Files serve nothing else here."
                )
            ends_after_s = expiry_s(_expires_after(form.fields))
            artifact = await spool.commit()
        files = self._engine.files
        file = files.new(caller.tenant_id, form.file_name or "", purpose, artifact, ends_after_s)

        async def work(key_id: UUID | None, digest: bytes | None) -> dict[str, Any]:
            await (files.add(file) if purpose == "batch" else add_picture(files, file))
            return {"file": show_file_id(file.id)}

        asked = [file.name, purpose, file.sha256.hex(), ends_after_s]
        kept = await self._keys.answered(caller.tenant_id, key_of(request), asked, work)
        return JSONResponse(file_json(await files.find(caller.tenant_id, kept["file"])))

    async def listed(
        self,
        request: Request,
        after: str | None = None,
        limit: int = PAGE_MAX,
        order: str = "desc",
        purpose: str | None = None,
    ) -> JSONResponse:
        """List files, the latest first unless ``order`` is ``asc``."""
        caller = await self._entry.let_in(request, Scope.READ)
        count = max(1, min(limit, PAGE_MAX))
        behind = None if after is None else read_file_id(after)
        page = Page(count + 1, behind, plain(purpose, "purpose"), oldest_first=order == "asc")
        found = await self._engine.files.listed(caller.tenant_id, page)
        return JSONResponse(list_json([file_json(one) for one in found], count))

    async def show(self, request: Request, file_id: str) -> JSONResponse:
        """Show a file."""
        caller = await self._entry.let_in(request, Scope.READ)
        return JSONResponse(file_json(await self._engine.files.find(caller.tenant_id, file_id)))

    async def content(self, request: Request, file_id: str) -> StreamingResponse:
        """Return a file's bytes."""
        caller = await self._entry.let_in(request, Scope.READ)
        file = await self._engine.files.find(caller.tenant_id, file_id)
        is_lines = file.purpose != PURPOSE
        name = show_file_id(file.id) + (".jsonl" if is_lines else "")
        headers = {
            "Content-Length": str(file.size_bytes),
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-cache",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        pieces = self._engine.files.pieces(file)
        media_type = MEDIA_TYPE if is_lines else "application/octet-stream"
        return StreamingResponse(pieces, headers=headers, media_type=media_type)

    async def delete(self, request: Request, file_id: str) -> JSONResponse:
        """Remove a file and its bytes."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        if not await self._engine.files.remove(caller.tenant_id, read_file_id(file_id)):
            raise NotFoundError(f"there is no file {file_id}")
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})


async def _receive(request: Request, form: Form, spool: Spool) -> None:
    """Read a form to its end, the file in it into ``spool``."""
    size = around = 0
    try:
        async for chunk in request.stream():
            around += len(chunk)
            for piece in form.feed(chunk):
                size += len(piece)
                around -= len(piece)
                await spool.write(piece)
            if size > FILE_BYTES_MAX or around > FORM_BYTES_MAX:
                raise _too_large()
    except ClientDisconnect:
        raise InputError("the sender has hung up", remedy="Send the file again.") from None
    form.finish()


def _too_large() -> TooLargeError:
    return TooLargeError(
        f"the file has more than {FILE_BYTES_MAX:,} bytes", remedy="Split it into several."
    )


def _expires_after(fields: dict[str, str]) -> dict[str, Any] | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    digits = seconds is not None and seconds.isascii() and seconds.isdecimal()
    return {"anchor": anchor, "seconds": int(seconds[:20]) if digits and seconds else seconds}


def expiry_s(told: Any) -> int | None:
    """Return the seconds that an ``expires_after`` gives; raises ``InputError``."""
    if told is None:
        return None
    least, most = EXPIRES_S
    seconds = told.get("seconds") if isinstance(told, dict) else None
    good = isinstance(seconds, int) and not isinstance(seconds, bool) and least <= seconds <= most
    if not good or told.get("anchor") != "created_at":
        raise InputError(
            "the time after which a file expires cannot be read",
            remedy=f'Write {{"anchor": "created_at", "seconds": {least} to {most}}}.',
        )
    assert isinstance(seconds, int)
    return seconds


def file_json(file: File) -> dict[str, Any]:
    """Return a file as OpenAI's API tells of it; times in seconds since 1970."""
    return {
        "id": show_file_id(file.id),
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": int(file.created_at.timestamp()),
        "expires_at": None if file.expires_at is None else int(file.expires_at.timestamp()),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def list_json(found: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """Return a page as OpenAI's API tells of it; ``found`` has one more where there is more."""
    data = found[:count]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > count,
    }
