"""What is submitted: settings and rows out of JSON, or out of a file that comes as it is."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from headrace.engine import Engine, open_source
from headrace.errors import InputError, UsageError
from headrace.files import safe_name
from headrace.fingerprint import canonical_json
from headrace.http.bodies import only, read_json
from headrace.http.entry import Caller
from headrace.http.multipart import Form
from headrace.http.problems import TooLargeError
from headrace.price import read_usd
from headrace.recipe import Recipe, check_recipe_name
from headrace.source import BadRow, Limits, Row
from headrace.spans import read_span
from headrace.submission import Terms, request_digest

UPLOAD_BYTES_MAX = 200 * 1024 * 1024
TEXT_BYTES_MAX = 1024**3
"""The most that a file may hold when it is unpacked."""

FORM_BYTES_MAX = 256 * 1024
KEY_CHARS_MAX = 255
NAME_CHARS_MAX = 200
SETTINGS: dict[str, Any] = {
    "recipe": str,
    "name": str,
    "class": str,
    "cache": str,
    "unknown": str,
    "strict": bool,
    "canary": int,
    "look_first": bool,
    "max_cost_usd": (int, float, str),
    "deadline": str,
}
KINDS = {
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/jsonl": "jsonl",
    "application/x-jsonlines": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
}
FORM = "multipart/form-data"
_SUFFIXES = {"csv": ".csv", "jsonl": ".jsonl"}


@dataclass(frozen=True)
class Submission:
    """What a caller wants: ``told`` are its settings, ``rows_sha256`` tells rows apart."""

    recipe: Recipe
    terms: Terms
    rows: Iterable[Row | BadRow | Mapping[str, Any]]
    columns: list[str] | None
    told: dict[str, Any]
    rows_sha256: str

    @property
    def digest(self) -> bytes | None:
        """Return what tells it from another one under the same idempotency key."""
        if self.terms.idempotency_key is None:
            return None
        return request_digest(
            self.recipe, self.terms, canonical_json([self.told, self.rows_sha256]).hex()
        )

    def as_rows(self) -> Iterable[Row | BadRow]:
        """Return the rows as an estimate takes them."""
        return (
            row if isinstance(row, Row | BadRow) else Row(number, dict(row))
            for number, row in enumerate(self.rows, 1)
        )


@asynccontextmanager
async def submission(engine: Engine, request: Request, caller: Caller) -> AsyncIterator[Submission]:
    """Read what a request submits; a file that came with it is there while the block runs.

    Raises ``InputError``, ``UsageError``, ``RecipeError`` and ``TooLargeError``.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != FORM and media_type not in KINDS:
        body = await read_json(request)
        only(body, {**SETTINGS, "rows": list})
        rows = body.pop("rows", None)
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise InputError("rows must be a list of objects, one or more")
        yield _made(engine, request, caller, body, rows)
        return
    path = engine.blobs.spool_folder / secrets.token_hex(12)
    try:
        told, name, kind, sha256 = await _received(engine, request, media_type, path)
        limits = engine.config.limits
        capped = Limits(
            field_chars_max=limits.field_bytes_max,
            rows_max=limits.rows_max,
            bytes_max=TEXT_BYTES_MAX,
        )
        source = await engine.blobs.in_thread(
            lambda: open_source(path, name=name, kind=kind, limits=capped)
        )
        with source:
            yield _made(engine, request, caller, told, source, source.columns, sha256, name)
    finally:
        await engine.blobs.in_thread(lambda: path.unlink(missing_ok=True))


def _made(
    engine: Engine,
    request: Request,
    caller: Caller,
    told: dict[str, Any],
    rows: Iterable[Any],
    columns: list[str] | None = None,
    sha256: str | None = None,
    name: str | None = None,
) -> Submission:
    only(told, SETTINGS)
    recipe = check_recipe_name(told.get("recipe", ""))
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= KEY_CHARS_MAX:
        raise InputError(f"an Idempotency-Key has 1 to {KEY_CHARS_MAX} characters")
    terms = _terms(told, caller, key, name)
    found = engine.recipe(recipe)
    settings = {k: v for k, v in told.items() if k != "recipe"}
    if sha256 is None:
        sha256 = "" if key is None else hashlib.sha256(canonical_json(rows)).hexdigest()
    return Submission(found, terms, rows, columns, settings, sha256)


def _terms(told: dict[str, Any], caller: Caller, key: str | None, file: str | None) -> Terms:
    cap, deadline = told.get("max_cost_usd"), told.get("deadline")
    name = told.get("name") or (Path(file).stem if file else None)
    if name is not None and ("\0" in name or len(name) > NAME_CHARS_MAX):
        raise InputError(f"a name has 1 to {NAME_CHARS_MAX} characters, none of them NUL")
    canary = told.get("canary")
    if canary is not None and canary >= 2**31:
        raise InputError(f"canary = {canary} is more rows than a batch can have")
    return Terms(
        name=name,
        tenant_id=caller.tenant_id,
        class_name=told.get("class", "batch"),
        cache=told.get("cache", "reuse"),
        unknown=told.get("unknown", "retry"),
        strict=told.get("strict", False),
        canary=canary,
        look_first=told.get("look_first", False),
        cost_cap_microusd=None if cap is None else read_usd(str(cap)),
        idempotency_key=key,
        source={"input": file or "api"},
        deadline_s=None if deadline is None else read_span(deadline, "deadline"),
    )


async def _received(
    engine: Engine, request: Request, media_type: str, path: Path
) -> tuple[dict[str, Any], str, str | None, str]:
    """Write the file of a request to ``path``; returns settings, name, kind and hash."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > UPLOAD_BYTES_MAX + FORM_BYTES_MAX:
        raise _too_large()
    form = Form(request) if media_type == FORM else None
    digest, size = hashlib.sha256(), 0
    work = engine.blobs.in_thread
    await work(lambda: path.parent.mkdir(parents=True, exist_ok=True))
    file = await work(path.open, "xb")
    try:
        async for piece in _pieces(request, form):
            size += len(piece)
            if size > UPLOAD_BYTES_MAX:
                raise _too_large()
            digest.update(piece)
            await work(file.write, piece)
        await work(file.close)
    except ClientDisconnect:
        raise InputError("the sender has hung up", remedy="Send the file again.") from None
    finally:
        # Closed above unless something failed, and a full disk may fail here once more.
        with contextlib.suppress(OSError):
            file.close()
    if form is None:
        kind = KINDS[media_type]
        return _settings(request.query_params), f"upload{_SUFFIXES[kind]}", kind, digest.hexdigest()
    form.finish()
    return _settings(form.fields), safe_name(form.file_name or ""), None, digest.hexdigest()


async def _pieces(request: Request, form: Form | None) -> AsyncIterator[bytes]:
    """Yield the bytes of the file, whatever is around them."""
    around = 0
    async for chunk in request.stream():
        pieces = [chunk] if form is None else form.feed(chunk)
        around += len(chunk) - sum(len(piece) for piece in pieces)
        if around > FORM_BYTES_MAX:
            raise TooLargeError(f"the form has more than {FORM_BYTES_MAX:,} bytes beside its file")
        for piece in pieces:
            if piece:
                yield piece


def _settings(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return settings that came as text, as what they are; raises ``UsageError``."""
    told: dict[str, Any] = dict(fields)
    for name, text in fields.items():
        if SETTINGS.get(name) is bool:
            if text not in ("true", "false"):
                raise UsageError(f"{name} = {text[:40]!r} is neither true nor false")
            told[name] = text == "true"
        elif SETTINGS.get(name) is int:
            if not (text.isascii() and text.isdecimal() and len(text) < 10):
                raise UsageError(f"{name} = {text[:40]!r} is not a whole number")
            told[name] = int(text)
    return told


def _too_large() -> TooLargeError:
    return TooLargeError(
        f"the file has more than {UPLOAD_BYTES_MAX:,} bytes", remedy="Split it into several."
    )
