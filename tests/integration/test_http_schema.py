"""The OpenAPI document is true: schemathesis asks every route what the document allows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.test_http import Served, ended, served, submitted

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
EXAMPLES = 12
LIVES_ON = {"/api/batches/{batch_id}/events"}
"""Streams last as long as their batch; those of an ended one are tried."""


class Running:
    """A server on a loop of its own, since schemathesis asks from outside of one."""

    def __init__(self, database_url: str, home: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._context = served(database_url, home)
        self.api: Served = self.run(self._context.__aenter__())

    def run(self, work: Any) -> Any:
        """Do work on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    def close(self) -> None:
        """Stop the server."""
        self.run(self._context.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


@pytest.fixture
def running(database_url: str, tmp_path: Path) -> Iterator[Running]:
    one = Running(database_url, tmp_path)
    yield one
    one.close()


async def batch_of(api: Served) -> str:
    """A batch that has ended, so that there is something to be shown."""
    batch = await submitted(api)
    await ended(api, batch["id"])
    return str(batch["id"])


async def account_of(api: Served) -> dict[str, str]:
    """A tenant, a key of its own, a webhook with a message: ids that there are."""

    async def made(path: str, body: Any = None) -> Any:
        status, told = await api("POST", path, "admin", body)
        assert status < 300, told
        return told

    await made("/api/tenants", {"id": "acme", "plan": "default"})
    key = await made("/api/keys", {"name": "theirs", "tenant": "acme"})
    hook = await made(
        "/api/webhooks", {"url": "https://x.example/hook", "events": ["batch.completed"]}
    )
    message = await made(f"/api/webhooks/{hook['id']}/ping")
    await made("/api/credits/grants", {"credits": 1, "reference": "r", "expires_at": "2999-01-01"})
    return {
        "tenant_id": "acme",
        "key_id": key["id"],
        "webhook_id": hook["id"],
        "delivery_id": message["id"],
    }


def test_every_answer_is_as_the_document_says(running: Running) -> None:
    """Whatever is asked: no 5xx, and no status, type or body but what the document names."""
    api = running.api
    batch_id = running.run(batch_of(api))
    schema = schemathesis.openapi.from_url(f"{api.url}/api/openapi.json")
    known = {"batch_id": batch_id, "row_number": 1, "name": "words", "output": "generate1"}
    known |= running.run(account_of(api))
    tried = []
    for found in schema.get_all_operations():
        operation = found.ok()
        ask(operation, known, api.keys["admin"])
        tried.append(operation.label)
    assert len(tried) >= 60


def test_no_route_is_described_as_anything(running: Running) -> None:
    """Every route says which answers it gives, and every body that is read has a schema."""
    api = running.api
    told = running.run(api("GET", "/api/openapi.json", "read"))[1]
    for path, operations in told["paths"].items():
        for verb, operation in operations.items():
            assert "2XX" not in operation["responses"], f"{verb} {path}"


def ask(operation: Any, known: dict[str, Any], key: str) -> None:
    """Ask one route for this and that, about ids that there are and ids that there are not."""

    @hypothesis.given(case=operation.as_strategy(), real=hypothesis.strategies.booleans())
    @hypothesis.settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def each(case: Any, real: bool) -> None:
        names = [name for name in known if f"{{{name}}}" in operation.path]
        kept = operation.method.lower() != "delete"
        if names and kept and (real or operation.path in LIVES_ON):
            case.path_parameters = {name: known[name] for name in names}
        headers = {"Authorization": f"Bearer {key}"}
        case.call_and_validate(headers=headers, checks=CHECKS, timeout=30)

    each()
