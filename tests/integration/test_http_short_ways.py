"""The short ways to an item and its artifact answer as the long ones do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.access import Scope
from headrace.config import Config
from headrace.engine import open_engine
from headrace.http.app import build_app
from headrace.recipe import parse_recipe
from headrace.store import keys
from headrace.submission import Terms
from tests.integration.asgi import Client

RECIPE = {
    "name": "short",
    "columns": {"required": ["prompt"]},
    "stages": [
        {"name": "make", "kind": "generate", "model": "simulated:m", "prompt": "{{ prompt }}"},
    ],
}
IMAGE_BYTES = 20_000


@pytest.fixture
async def there(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Client, Client, str]]:
    """A client, a client of another tenant, and where a finished item of the first one is."""
    table = {"body": "image", "body_bytes": IMAGE_BYTES}
    config = Config(home=str(tmp_path), database_url=database_url, providers={"simulated": table})
    async with open_engine(config) as engine:
        now = engine.clock.now()
        async with engine.database.transaction() as connection:
            own, _ = await keys.make(connection, "default", "own", Scope.READ, now)
            await connection.execute("INSERT INTO tenant (id, name) VALUES ('other', 'o')")
            foreign, _ = await keys.make(connection, "other", "foreign", Scope.ADMIN, now)
        batch = await engine.submit(
            [{"prompt": "a mill"}], parse_recipe(RECIPE, "short"), terms=Terms(canary=0)
        )
        await batch.done()
        app = build_app(engine)
        yield Client(app, own), Client(app, foreign), f"/api/batches/{batch.id}/items"


async def test_both_ways_say_the_same(there: tuple[Client, Client, str]) -> None:
    """An item asked for without a query is the one asked for with one; so are its bytes."""
    client, _, path = there
    short, long = await client("GET", f"{path}/1"), await client("GET", f"{path}/1?links_s=0")
    assert short.status == 200
    assert short.json == long.json
    assert short.headers["content-type"] == long.headers["content-type"]
    body, named = (
        await client("GET", f"{path}/1/artifact"),
        await client("GET", f"{path}/1/outputs/make"),
    )
    assert len(body.body) >= IMAGE_BYTES
    assert body.body == named.body
    assert body.headers["etag"] == named.headers["etag"]


async def test_parts_heads_and_what_is_known_already(there: tuple[Client, Client, str]) -> None:
    """A range, a HEAD and a matching ETag are honoured on the short way, too."""
    client, _, path = there
    whole = await client("GET", f"{path}/1/artifact")
    part = await client("GET", f"{path}/1/artifact", range="bytes=100-299")
    assert (part.status, part.body) == (206, whole.body[100:300])
    known = await client("GET", f"{path}/1/artifact", if_none_match=whole.headers["etag"])
    assert (known.status, known.body) == (304, b"")
    head = await client("HEAD", f"{path}/1/artifact")
    assert (head.status, head.headers["content-length"]) == (200, str(len(whole.body)))


@pytest.mark.parametrize("tail", ["", "/artifact"])
async def test_what_is_not_there_is_told(there: tuple[Client, Client, str], tail: str) -> None:
    """Rows beyond the end or beyond all numbers, other tenants and no key end as they should."""
    client, foreign, path = there
    for row in ("0", "2", "9999999999"):
        assert (await client("GET", f"{path}/{row}{tail}")).status == 404
    assert (await client("GET", f"{path}/{'9' * 5000}{tail}")).status in (400, 404)
    assert (await client("GET", f"{path}/one{tail}")).status == 400
    missing = await client("GET", f"/api/batches/b_{'0' * 26}/items/1{tail}")
    others = await foreign("GET", f"{path}/1{tail}")
    assert (missing.status, others.status) == (404, 404)
    assert missing.json["code"] == others.json["code"] == "not_found"
    assert (await Client(client.app, "")("GET", f"{path}/1{tail}")).status == 401
