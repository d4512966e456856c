"""READ FIRST of HTTP: the app, its routes, and whether it is alive and ready."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from headrace.engine import Engine
from headrace.http.artifact_links import LinkRoutes, Links
from headrace.http.artifacts import Artifacts
from headrace.http.batches import Batches
from headrace.http.broadcast import Feeds
from headrace.http.catalog import Catalog
from headrace.http.credits import Credits
from headrace.http.demand import Demand
from headrace.http.document import Document
from headrace.http.edits import Edits
from headrace.http.entry import Entry
from headrace.http.exports import Exports
from headrace.http.file_batches import FileBatchRoutes
from headrace.http.files import FileRoutes
from headrace.http.generate import Generate
from headrace.http.hooks import Hooks
from headrace.http.item_links import ItemLinks
from headrace.http.items import Items
from headrace.http.keys import KeyRoutes
from headrace.http.live import Live
from headrace.http.metrics import MetricsRoute, metrics_of
from headrace.http.online import Online
from headrace.http.plans import PlanRoutes
from headrace.http.price_book import PriceBook
from headrace.http.privacy import PrivacyRoutes
from headrace.http.problems import add_handlers
from headrace.http.provider_keys import ProviderKeyRoutes
from headrace.http.schedules import ScheduleRoutes
from headrace.http.short_ways import add_short_ways
from headrace.http.statements import Statements
from headrace.http.tenants import TenantRoutes
from headrace.http.webhooks import WebhookRoutes
from headrace.outgoing import OutgoingFiles
from headrace.version import VERSION

READY_S = 2.0


def build_app(engine: Engine) -> FastAPI:
    """Return the app over an open engine."""
    # Neither of its pages for documents: they load their scripts from strangers.
    app = FastAPI(
        title="headrace", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None
    )
    entry = Entry(engine.database, engine.clock)

    @app.get("/healthz")
    async def healthz(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": VERSION})

    @app.get("/readyz")
    async def readyz(request: Request) -> JSONResponse:
        try:
            async with asyncio.timeout(READY_S), engine.database.acquire() as connection:
                await engine.database.check(connection)
        except Exception as error:  # broad: whatever it is, we are not ready
            return JSONResponse({"status": "not ready", "why": type(error).__name__}, 503)
        return JSONResponse({"status": "ready"})

    outgoing = OutgoingFiles(engine.reading, engine.blobs)
    demand, links = Demand(engine), Links(engine.database, engine.clock)
    online = Online(engine, entry, demand, links)
    app.include_router(online.router())
    app.include_router(Edits(engine, entry, online).router())
    app.include_router(Generate(engine, entry, demand, links).router())
    app.include_router(LinkRoutes(engine, links, outgoing).router())
    app.include_router(FileRoutes(engine, entry).router())
    app.include_router(FileBatchRoutes(engine, entry).router())
    item_links, feeds = ItemLinks(engine.database, engine.clock), Feeds(engine.clock)
    app.include_router(Live(engine, entry, feeds).router())
    app.include_router(Exports(engine, entry, outgoing).router())
    artifacts = Artifacts(engine, entry, item_links, outgoing)
    items = Items(engine, entry, item_links)
    app.include_router(artifacts.router())
    app.include_router(items.router())
    add_short_ways(app, items.show, artifacts.last)
    app.include_router(Batches(engine, entry).router())
    app.include_router(TenantRoutes(engine, entry).router())
    app.include_router(PlanRoutes(engine, entry).router())
    app.include_router(KeyRoutes(engine, entry).router())
    app.include_router(ProviderKeyRoutes(engine, entry).router())
    app.include_router(Credits(engine, entry).router())
    app.include_router(Statements(engine, entry).router())
    app.include_router(PriceBook(engine, entry).router())
    app.include_router(Catalog(engine, entry).router())
    app.include_router(Hooks(engine).router())
    app.include_router(PrivacyRoutes(engine, entry).router())
    app.include_router(WebhookRoutes(engine, entry).router())
    app.include_router(ScheduleRoutes(engine, entry).router())
    app.state.metrics = seen = metrics_of(engine, feeds)
    app.include_router(MetricsRoute(seen, None if engine.config.metrics.open else entry).router())
    app.include_router(Document(app).router())
    add_handlers(app)
    return app
