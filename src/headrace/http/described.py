"""What the OpenAPI document says of a route: bodies, answers and keys, from the structures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

JSON = "application/json"
PROBLEM = "application/problem+json"
MARK = "x-described"
_BINARY = {"type": "string", "format": "binary"}


def ref(shape: type) -> dict[str, str]:
    """Return the reference to a structure's schema."""
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def says(shape: type, words: str) -> dict[str, Any]:
    """Describe an answer in JSON."""
    return {"description": words, "content": {JSON: {"schema": ref(shape)}}}


def gives(words: str, *media_types: str) -> dict[str, Any]:
    """Describe an answer of bytes."""
    return {"description": words, "content": {kind: {"schema": _BINARY} for kind in media_types}}


def empty(words: str) -> dict[str, Any]:
    """Describe an answer without a body."""
    return {"description": words}


def described(
    *,
    body: dict[str, Any] | None = None,
    body_required: bool = True,
    key: bool = True,
    **answers: dict[str, Any],
) -> dict[str, Any]:
    """Return what ``add_api_route`` is told of a route.

    ``body`` is by media type the schema of what is sent; ``answers`` are by status, written
    ``s200``; any other answer is a problem. Without ``key`` the route needs none.
    """
    told: dict[str, Any] = {
        "responses": {
            **{name.removeprefix("s"): answer for name, answer in answers.items()},
            "default": problem(),
        }
    }
    if body is not None:
        content = {kind: {"schema": schema} for kind, schema in body.items()}
        told["requestBody"] = {"required": body_required, "content": content}
    if key:
        told["security"] = [{"key": []}]
    return {"openapi_extra": {MARK: told}}


def route(router: APIRouter, verb: str, path: str, answer: Callable[..., Any], **told: Any) -> None:
    """Add a route to ``router``; ``told`` is what ``described`` takes."""
    router.add_api_route(path, answer, methods=[verb], **described(**told))


def undescribed() -> dict[str, Any]:
    """Describe the answers of a route that says nothing of itself."""
    return {"2XX": {"description": "What was asked for."}, "default": problem()}


def problem() -> dict[str, Any]:
    """Describe the answer that every error gets."""
    schema = {"$ref": "#/components/schemas/Problem"}
    words = "What is wrong, and the remedy."
    return {"description": words, "content": {PROBLEM: {"schema": schema}}}
