"""Traces of the work, OpenTelemetry's way: a span for an item, its stages and its attempts.

They are made where ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set (the extra ``tracing`` brings what
sends them), or where the program that headrace is part of has set a tracer provider. Otherwise
nothing of OpenTelemetry is loaded. Names are those of its conventions for generative AI; no
prompt, no input and no words of a provider are written into a span.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from headrace.held import HeldItem
from headrace.meter import public_lane
from headrace.order import Order
from headrace.outcome import OutcomeKind
from headrace.purchase import Bought
from headrace.telemetry import log
from headrace.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NONE: AbstractContextManager[None] = nullcontext()

_USAGE = (
    ("gen_ai.usage.input_tokens", ("input_tokens", "prompt_tokens", "promptTokenCount")),
    ("gen_ai.usage.output_tokens", ("output_tokens", "completion_tokens", "candidatesTokenCount")),
)


class Traces:
    """Makes spans with ``tracer``; without one, nothing."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer

    def item(self, item: HeldItem) -> AbstractContextManager[Span | None]:
        """Span an item while one worker walks it."""
        if self._tracer is None:
            return _NONE
        known = {"headrace.batch.id": str(item.batch.id), "headrace.item.row_number": item.idx + 1}
        return self._span("item", known)

    def stage(self, item: HeldItem) -> AbstractContextManager[Span | None]:
        """Span what is done for the item's next stage."""
        if self._tracer is None:
            return _NONE
        stages = item.batch.stages
        name = stages[item.stage].name if item.stage < len(stages) else "end"
        return self._span(f"stage {name}", {"headrace.stage.name": name})

    def attempt(self, order: Order, number: int) -> AbstractContextManager[Span | None]:
        """Span the call of an attempt."""
        if self._tracer is None:
            return _NONE
        known = {
            "gen_ai.operation.name": "generate_content",
            "gen_ai.provider.name": order.provider.name,
            "gen_ai.request.model": order.option.model,
            "headrace.attempt.number": number,
            "headrace.lane": public_lane(order.option.lane, order.item.batch.tenant_id),
        }
        return self._span(f"generate_content {order.option.model}", known, is_call=True)

    def bought(self, span: Span | None, bought: Bought) -> None:
        """Write into the span of an attempt how it ended."""
        if span is None:
            return
        outcome = bought.outcome
        span.set_attribute("headrace.outcome", outcome.kind.value)
        if outcome.kind not in (OutcomeKind.SUCCESS, OutcomeKind.PENDING):
            from opentelemetry.trace import StatusCode

            span.set_attribute("error.type", outcome.kind.value)
            span.set_status(StatusCode.ERROR, outcome.kind.value)
        cost = outcome.estimate_microusd if outcome.cost_microusd is None else outcome.cost_microusd
        if cost is not None:
            span.set_attribute("headrace.cost_usd", cost / 1e6)
        for name, value in usage_of(bought.facts or {}).items():
            span.set_attribute(name, value)

    @contextmanager
    def _span(
        self, name: str, known: Mapping[str, Any], *, is_call: bool = False
    ) -> Iterator[Span]:
        from opentelemetry.trace import SpanKind

        assert self._tracer is not None
        kind = SpanKind.CLIENT if is_call else SpanKind.INTERNAL
        # An exception's words may hold inputs; and leaving an item is none.
        with self._tracer.start_as_current_span(
            name,
            kind=kind,
            attributes=dict(known),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span


def usage_of(facts: Mapping[str, Any]) -> dict[str, int]:
    """Return the tokens that an attempt's facts tell, by the names of the conventions."""
    usage = facts.get("usage")
    if not isinstance(usage, Mapping):
        return {}
    found = {}
    for name, spellings in _USAGE:
        told = next((usage[one] for one in spellings if isinstance(usage.get(one), int)), None)
        if told is not None:
            found[name] = told
    return found


def traces_of_process() -> Traces:
    """Return the traces that this process is to make."""
    provider = provider_of_process()
    return Traces(None if provider is None else provider.get_tracer("headrace", VERSION))


def provider_of_process() -> Any:
    """Return who makes spans here: the program's own provider, ours, or ``None`` for nobody."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        own = trace.get_tracer_provider()
        if not isinstance(own, trace.ProxyTracerProvider):
            return own
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    return _exporting() if any(os.environ.get(name) for name in ENDPOINTS) else None


@cache
def _exporting() -> Any:
    """Return a provider that sends to the collector of the environment; one for the process.

    What is left is sent when the process ends.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log().warning(
            "no_traces", why=f"{ENDPOINTS[0]} is set", remedy="pip install 'headrace[tracing]'"
        )
        return None
    own = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or "headrace"}
    provider = TracerProvider(resource=Resource.create({**own, "service.version": VERSION}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
