"""The OpenAPI document of ``/api``, and a page for people made of it: no script, no stranger."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse

from headrace.http import account_shapes, credit_shapes, schedule_shapes, shapes, webhook_shapes
from headrace.http.described import MARK, undescribed
from headrace.version import VERSION

PREFIX = "/api/"
SHAPES = (
    shapes.BatchShape, shapes.BatchPage, shapes.ItemPage, shapes.ItemDetail, shapes.QuoteShape,
    shapes.RecipeList, shapes.LaneList, shapes.GeneratedShape, shapes.Problem,
    *account_shapes.SHAPES, *credit_shapes.SHAPES, *webhook_shapes.SHAPES,
    *schedule_shapes.SHAPES,
)  # fmt: skip
_WORDS = (
    "Batches of rows through recipes. Every call carries a key, `Authorization: Bearer hr_…`; "
    "what belongs to another tenant is not there. Errors are problem details (RFC 9457)."
)
_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem}
details{border:1px solid color-mix(in srgb,currentColor 25%,transparent);border-radius:.4rem;
margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}
code,pre{font:.9em/1.4 ui-monospace,monospace}
pre{overflow-x:auto}
.verb{display:inline-block;min-width:4.5rem;font-weight:700}
table{border-collapse:collapse}
td{padding:.1rem .8rem .1rem 0;vertical-align:top}
"""


class Document:
    """The routes of the document and its page; neither needs a key."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._made: dict[str, Any] | None = None

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api", include_in_schema=False)
        router.add_api_route("/openapi.json", self.openapi, methods=["GET"])
        router.add_api_route("/docs", self.page, methods=["GET"])
        return router

    async def openapi(self, request: Request) -> JSONResponse:
        """Return the OpenAPI document."""
        return JSONResponse(self.whole(), headers={"Cache-Control": "no-cache"})

    async def page(self, request: Request) -> HTMLResponse:
        """Return the page for people."""
        digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
        headers = {
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return HTMLResponse(_page(self.whole()), headers=headers)

    def whole(self) -> dict[str, Any]:
        """Return the document, made when it is asked for first."""
        if self._made is None:
            self._made = _document(self._app)
        return self._made


def _document(app: FastAPI) -> dict[str, Any]:
    told = get_openapi(title="headrace", version=VERSION, description=_WORDS, routes=app.routes)
    told["paths"] = {path: told["paths"][path] for path in told["paths"] if path.startswith(PREFIX)}
    for operations in told["paths"].values():
        for operation in operations.values():
            _describe(operation)
    _, components = msgspec.json.schema_components(
        SHAPES, ref_template="#/components/schemas/{name}"
    )
    own = told.setdefault("components", {})
    own.setdefault("schemas", {}).update(components)
    for name in ("HTTPValidationError", "ValidationError"):
        own["schemas"].pop(name, None)
    own["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return told


def _describe(operation: dict[str, Any]) -> None:
    """Put what a route says of itself in the place of what was guessed."""
    known = {"responses": undescribed(), "security": [{"key": []}]}
    operation.update(operation.pop(MARK, known))


def _page(document: dict[str, Any]) -> str:
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            group = (operation.get("tags") or ["others"])[0]
            groups.setdefault(group, []).append(_operation(verb, path, operation))
    parts = [f"<h2>{escape(name)}</h2>\n" + "\n".join(found) for name, found in groups.items()]
    schemas = "\n".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"{_json(schema)}</details>"
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>headrace API</title><style>{_STYLE}</style></head><body>"
        f"<h1>headrace {escape(VERSION)}</h1><p>{escape(document['info']['description'])}</p>"
        '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>'
        + "\n".join(parts)
        + f"<h2>structures</h2>{schemas}</body></html>"
    )


def _operation(verb: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td>"
        f"<td>{escape(one.get('description', ''))}</td></tr>"
        for one in operation.get("parameters", [])
    )
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(one['description'])}</td>"
        f"<td>{_refs(one)}</td></tr>"
        for status, one in operation["responses"].items()
    )
    body = operation.get("requestBody")
    sent = f"<h4>Body</h4>{_json(body['content'])}" if body else ""
    words = escape(operation.get("description", operation.get("summary", "")))
    return (
        f'<details><summary><span class="verb">{escape(verb.upper())}</span>'
        f"<code>{escape(path)}</code></summary><p>{words}</p>"
        f"<table>{rows}</table>{sent}<h4>Answers</h4><table>{answers}</table></details>"
    )


def _refs(answer: dict[str, Any]) -> str:
    found = []
    for kind, content in answer.get("content", {}).items():
        name = str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]
        link = f'<a href="#{escape(name)}">{escape(name)}</a>' if name else ""
        found.append(f"<code>{escape(kind)}</code> {link}")
    return ", ".join(found)


def _json(value: Any) -> str:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return f"<pre>{escape(text)}</pre>"
