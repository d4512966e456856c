"""Traces: a span for each item, stage and attempt, with the conventions' names and no inputs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from headrace import traces
from headrace.engine import Engine
from headrace.outcome import OutcomeKind
from headrace.traces import usage_of
from tests.integration.scripted import Scripted
from tests.integration.test_engine import engine_on, rows, submit


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the spans of this test end up."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(traces, "provider_of_process", lambda: provider)
    return kept


@pytest.fixture
async def engine(
    exporter: InMemorySpanExporter, database_url: str, tmp_path: Path
) -> AsyncIterator[Engine]:
    def script(prompt: str, nth: int) -> OutcomeKind | None:
        return OutcomeKind.OVERLOADED if nth == 1 and prompt == "row 1" else None

    async with engine_on(database_url, tmp_path, Scripted(script)) as opened:
        yield opened


def by_name(spans: tuple[ReadableSpan, ...], name: str) -> list[ReadableSpan]:
    """The spans of one name."""
    return [span for span in spans if span.name == name]


async def test_an_attempt_stands_in_its_stage_and_that_in_its_item(
    engine: Engine, exporter: InMemorySpanExporter
) -> None:
    """Item, stage and attempt are parents of each other; the attempt says who was asked."""
    batch = await submit(engine, rows(1), canary=0)
    await batch.done()
    spans = exporter.get_finished_spans()
    (item,), (stage,) = by_name(spans, "item"), by_name(spans, "stage make")
    (attempt,) = by_name(spans, "generate_content m")
    assert item.parent is None
    assert stage.parent is not None
    assert stage.parent.span_id == item.context.span_id
    assert attempt.parent is not None
    assert attempt.parent.span_id == stage.context.span_id
    assert item.attributes == {
        "headrace.batch.id": str(batch.uuid), "headrace.item.row_number": 1,
    }  # fmt: skip
    assert attempt.kind is SpanKind.CLIENT
    assert attempt.attributes == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "m",
        "headrace.attempt.number": 1,
        "headrace.lane": "scripted",
        "headrace.outcome": "success",
        "headrace.cost_usd": 0.04,
    }


async def test_a_failed_attempt_is_an_error_of_its_kind(
    engine: Engine, exporter: InMemorySpanExporter
) -> None:
    """The span of a call that failed has the kind as its error, and not the provider's words."""
    await (await submit(engine, rows(2), canary=0)).done()
    attempts = by_name(exporter.get_finished_spans(), "generate_content m")
    failed = [span for span in attempts if span.status.status_code is StatusCode.ERROR]
    assert len(attempts) == 3
    assert len(failed) == 1
    assert failed[0].attributes is not None
    assert failed[0].attributes["error.type"] == "overloaded"
    assert failed[0].status.description == "overloaded"
    # An item that leaves to wait is no error, and its leaving is not written down as one.
    assert not [span.name for span in exporter.get_finished_spans() if span.events]


async def test_no_input_is_in_any_span(engine: Engine, exporter: InMemorySpanExporter) -> None:
    """Neither prompts nor results nor tenants are told to whoever collects traces."""
    await (await submit(engine, rows(3, "my darkest secret"), canary=0)).done()
    spans = exporter.get_finished_spans()
    assert spans
    text = json.dumps([span.to_json() for span in spans])
    for word in ("darkest", "made of", "default"):
        assert word not in text


def test_usage_is_told_by_the_names_of_the_conventions() -> None:
    """Each API's own words for tokens become the two of the conventions."""
    told = {"gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 5}
    for usage in (
        {"prompt_tokens": 3, "completion_tokens": 5},
        {"input_tokens": 3, "output_tokens": 5},
        {"promptTokenCount": 3, "candidatesTokenCount": 5},
    ):
        assert usage_of({"usage": usage}) == told
    assert usage_of({"usage": {"images": 1}}) == {}
    assert usage_of({"usage": "many"}) == {}
    assert usage_of({}) == {}


def test_an_endpoint_in_the_environment_turns_them_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the endpoint set there is a tracer that exports; a disabled SDK, or none, has none."""
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    for name in traces.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert traces.provider_of_process() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    provider = traces.provider_of_process()
    assert isinstance(provider, TracerProvider)
    assert provider is traces.provider_of_process()
    assert provider.resource.attributes["service.name"] == "headrace"
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert traces.provider_of_process() is None
    provider.shutdown()
    traces._exporting.cache_clear()
