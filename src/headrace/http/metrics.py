"""``/metrics``: for Prometheus, beside the API or at a port of its own."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from headrace.engine import Engine
from headrace.http.broadcast import Feeds
from headrace.http.entry import Entry
from headrace.http.problems import add_handlers
from headrace.metrics import Metrics
from headrace.version import VERSION


def metrics_of(engine: Engine, feeds: Feeds | None = None, *, database: bool = True) -> Metrics:
    """Return the metrics of an engine's process, and of its whole database where asked for."""
    return Metrics(
        engine.meter,
        engine.writer,
        engine.clock,
        database=engine.database if database else None,
        database_s=engine.config.metrics.database_s,
        readers=None if feeds is None else feeds.readers,
    )


class MetricsRoute:
    """The route; with an ``entry`` only the operator is let in."""

    def __init__(self, metrics: Metrics, entry: Entry | None) -> None:
        self._metrics = metrics
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter()
        router.add_api_route("/metrics", self.show, methods=["GET"])
        return router

    async def show(self, request: Request) -> Response:
        """Return all metrics, as Prometheus or as OpenMetrics."""
        if self._entry is not None:
            await self._entry.operator(request)
        text, media_type = await self._metrics.text(request.headers.get("accept", ""))
        return Response(text, media_type=media_type)


def build_metrics_app(metrics: Metrics) -> FastAPI:
    """Return the app of a port that serves nothing but metrics, to whoever reaches it."""
    app = FastAPI(
        title="headrace", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None
    )

    @app.get("/healthz")
    async def healthz(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": VERSION})

    app.include_router(MetricsRoute(metrics, None).router())
    add_handlers(app)
    return app
