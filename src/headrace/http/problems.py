"""Errors over HTTP: problem details (RFC 9457) under ``/api``, OpenAI's shape under ``/v1``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import asyncpg
import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import Match

from headrace.errors import (
    DatabaseError,
    HeadraceError,
    UsageError,
)
from headrace.http.shapes import Problem
from headrace.openai_answers import error_json
from headrace.store.reachable import UNREACHED
from headrace.telemetry import log

STATUSES = {
    "invalid_api_key": 401,
    "forbidden": 403,
    "suspended": 403,
    "not_found": 404,
    "model_not_found": 404,
    "conflict": 409,
    "idempotency_mismatch": 422,
    "invalid_input": 422,
    "recipe": 422,
    "photo": 422,
    "photo_missing": 422,
    "photo_refused": 422,
    "usage": 400,
    "insufficient_credits": 402,
    "paused": 409,
    "too_large": 413,
    "range_not_satisfiable": 416,
    "generation_failed": 502,
    "database": 503,
    "storage": 503,
    "no_worker": 503,
    "config": 503,
    "daily_cap": 429,
    "daily_credits_cap": 429,
    "too_many_batches": 429,
    "too_many_waiting": 429,
}
RETRYABLE = frozenset(
    {
        "database", "storage", "daily_cap", "daily_credits_cap", "too_many_batches",
        "too_many_waiting", "no_worker",
    }
)  # fmt: skip
_LATER = "Ask again in a while; nothing is lost."
_UNREACHED = (*UNREACHED, asyncpg.InterfaceError, ConnectionError)


class TooLargeError(HeadraceError):
    """A body above the cap."""

    code = "too_large"


class RangeError(HeadraceError):
    """A range of bytes that a body of ``size_bytes`` does not have."""

    code = "range_not_satisfiable"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the artifact has {size_bytes:,} bytes, none of them in that range")
        self.headers = {"Content-Range": f"bytes */{size_bytes}"}


def status_of(error: HeadraceError) -> int:
    """Return the HTTP status of an error of ours."""
    return int(getattr(error, "status", None) or STATUSES.get(error.code, 500))


def answer(request: HTTPConnection, error: HeadraceError) -> JSONResponse:
    """Return an error as the part of the API that was called says it."""
    status = status_of(error)
    headers = dict(getattr(error, "headers", None) or {})
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    wait_s = getattr(error, "retry_after_s", None)
    if wait_s is not None:
        headers.setdefault("Retry-After", str(wait_s))
    elif status == 503 and _is_retryable(error):
        headers["Retry-After"] = "5"
    if request.url.path.startswith("/v1"):
        status = _status_v1(error, status)
        if error.code == "insufficient_credits":
            headers["x-should-retry"] = "false"
        return JSONResponse(openai_error(error, status), status, headers)
    return _problem(error, status, headers)


def _is_retryable(error: HeadraceError) -> bool:
    return bool(getattr(error, "retryable", error.code in RETRYABLE))


def _allowed(request: Request) -> str:
    """Return the methods that the path of a request has, over all routes."""
    found = []
    for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"):
        asked = {**request.scope, "method": method}
        if any(route.matches(asked)[0] is Match.FULL for route in request.app.routes):
            found.append(method)
    return ", ".join(found)


def _problem(error: HeadraceError, status: int, headers: dict[str, str]) -> JSONResponse:
    told = Problem(
        type=f"urn:headrace:error:{error.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.message,
        code=error.code,
        retryable=_is_retryable(error),
        remedy=error.remedy or None,
        place=error.place or None,
        row=error.row,
    )
    body = {**getattr(error, "facts", {}), **msgspec.to_builtins(told)}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _status_v1(error: HeadraceError, status: int) -> int:
    """Return the status by which clients of that API know what to do."""
    if status == 422 and error.code != "idempotency_mismatch":
        return 400  # they take a wrong request from that
    return 429 if status == 402 else status


def openai_error(error: HeadraceError, status: int) -> dict[str, Any]:
    """Return an error as OpenAI's API says it; the remedy is part of the message."""
    message = f"{error.message} {error.remedy}".strip()
    return error_json(message, error.code, status, error.param)


def add_handlers(app: FastAPI) -> None:
    """Let every error of the app become an answer; what is unexpected tells nothing of itself."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HeadraceError)
        return answer(request, error)

    async def plain(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        made = HeadraceError(str(error.detail))
        made.code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "usage")
        made.status = error.status_code  # type: ignore[attr-defined]
        if error.status_code == 405:
            made.headers = {"Allow": _allowed(request)}  # type: ignore[attr-defined]
        return answer(request, made)

    async def odd(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = error.errors()[0]
        name = ".".join(str(part) for part in found["loc"][1:])
        return answer(request, UsageError(f"{name} cannot be read: {found['msg']}"))

    async def unreached(request: Request, error: Exception) -> JSONResponse:
        log(path=request.url.path).warning("database_failed", error=repr(error))
        return answer(request, DatabaseError("the database does not answer", remedy=_LATER))

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log(path=request.url.path).exception("request_failed")
        return answer(request, HeadraceError("something unexpected; the log says more"))

    app.add_exception_handler(HeadraceError, ours)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(RequestValidationError, odd)
    for kind in _UNREACHED:
        app.add_exception_handler(kind, unreached)
    app.add_exception_handler(Exception, unexpected)
