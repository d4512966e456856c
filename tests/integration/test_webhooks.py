"""Webhooks that go out: written with their event, sent until taken, in bounds."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import openai
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from headrace.engine import Engine
from headrace.event import EventKind
from headrace.lifecycle import ItemState
from headrace.loops import deliverer
from headrace.loops.deliverer import Deliverer
from headrace.master_key import VARIABLE, MasterKeys
from headrace.outcome import OutcomeKind
from headrace.sealing import new_master
from headrace.store import webhook_deliveries, webhooks
from headrace.store.database import Database
from headrace.store.progress import Deltas
from headrace.testing.manual_clock import ManualClock
from headrace.webhook import EVENTS, RETRY_S, check_events, wait_s
from headrace.webhook_post import WebhookPost
from headrace.webhook_signature import is_standard_webhook, new_standard_secret
from tests.integration.scripted import Scripted
from tests.integration.speaking import Answer, Heard, drips, says, speaking
from tests.integration.test_engine import engine_on, recipe, rows

MASTERS = MasterKeys(Path("/nowhere"), {VARIABLE: new_master().to_text()})
TRY = "SELECT number, status, error, excerpt FROM webhook_try ORDER BY at, number"


class Post:
    """A tenant's endpoint on this machine, and a deliverer whose clock is moved by hand."""

    def __init__(self, database: Database, clock: ManualClock, port: int) -> None:
        self.database, self.clock, self.port = database, clock, port
        self.secret = new_standard_secret()
        self.loop = self.another()

    def another(self, send_s: float = 5.0, **more: Any) -> Deliverer:
        """A deliverer as another process would have it."""
        allowed = frozenset({"127.0.0.1"})
        masters = more.pop("masters", MASTERS)
        post = WebhookPost(self.clock, more.pop("allowed", allowed), send_s, **more)
        return Deliverer(self.database, self.clock, post, masters, Random(1))

    async def add(self, *events: str, url: str | None = None) -> UUID:
        """Add an endpoint that wants these events."""
        async with self.database.transaction() as connection:
            return await webhooks.insert(
                connection, MASTERS, "default", url or f"http://127.0.0.1:{self.port}/hook",
                list(events), self.secret, self.clock.now(),
            )  # fmt: skip

    async def ping(self, webhook_id: UUID) -> UUID:
        """Write a message that only says hello."""
        async with self.database.transaction() as connection:
            return await webhooks.ping(connection, webhook_id, self.clock.now())

    async def send(self, after_s: float = 0.0) -> None:
        """Let what is due after so long be sent."""
        await self.clock.advance(after_s)
        await self.loop.tick()
        await self.loop.sent()

    async def all(self, sql: str) -> list[dict[str, Any]]:
        """Rows of the database."""
        async with self.database.acquire() as connection:
            return [dict(row) for row in await connection.fetch(sql)]

    async def state(self, webhook_id: UUID) -> tuple[str, str | None]:
        """An endpoint's state, and why."""
        async with self.database.acquire() as connection:
            found = await webhooks.find(connection, "default", webhook_id)
        return found.state, found.reason


@asynccontextmanager
async def posting(database: Database, *answers: Answer) -> AsyncIterator[tuple[Post, list[Heard]]]:
    async with speaking(*answers) as speaker:
        post = Post(database, ManualClock(), speaker.port)
        try:
            yield post, speaker.heard
        finally:
            await post.loop.stop()


OK = says({"ok": True})


async def tell(post: Post, batch_id: UUID, *events: tuple[EventKind, int | None, str]) -> None:
    """Write events of a batch in a transaction of their own."""
    async with post.database.transaction() as connection:
        deltas = Deltas()
        # An open item, so that the batch is not over.
        deltas.of(batch_id).add("pending")
        deltas.of(batch_id).events += list(events)
        await deltas.write(connection, post.clock.now())


async def batch_on(engine: Engine, count: int = 3) -> Any:
    return await engine.submit(rows(count), recipe(), columns=["t"])


@pytest.fixture
async def engine(database_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    def script(prompt: str, nth: int) -> OutcomeKind | None:
        return {"row 0": OutcomeKind.REFUSED, "row 1": OutcomeKind.INVALID}.get(prompt)

    async with engine_on(database_url, tmp_path, Scripted(script)) as opened:
        # What is sent here is sent by the deliverers of the tests.
        for loop in opened._upkeep:
            await loop.stop()
        yield opened


# -- what is told --------------------------------------------------------------------------------


async def test_the_end_of_a_batch_and_of_its_items_is_told(engine: Engine) -> None:
    """Each choice is told once, with counts as they were; the official client knows the message."""
    async with posting(engine.database, OK) as (post, heard):
        await post.add("batch.completed", "item.succeeded", "item.failed", "item.refused")
        batch = await batch_on(engine, 5)
        await batch.done()
        post.clock.step_wall((engine.clock.now() - post.clock.now()).total_seconds() + 5)
        await post.send()
        await post.send()
        told = {one.json["type"]: one for one in heard}
        assert len(told) == len(heard) == 4
        data = {name: one.json["data"] for name, one in told.items()}
        assert data["batch.completed"] == {
            "id": batch.id,
            "path": f"/api/batches/{batch.id}",
            "counts": {
                "total": 5, "succeeded": 3, "failed": 1, "refused": 1, "cancelled": 0, "dead": 0,
                "cached": 0,
            },
        }  # fmt: skip
        assert sorted(one["row_number"] for one in data["item.succeeded"]["items"]) == [3, 4, 5]
        assert data["item.refused"]["items"] == [{"row_number": 1, "code": "refused"}]
        assert data["item.failed"]["items"] == [{"row_number": 2, "code": "invalid"}]
        one = told["batch.completed"]
        assert is_standard_webhook(one.headers, one.body, post.secret, post.clock.now())
        assert one.json["id"] == one.headers["webhook-id"]
        assert one.headers["content-type"] == "application/json"
        client = openai.AsyncOpenAI(api_key="none", webhook_secret=post.secret)
        client.webhooks.verify_signature(one.body, one.headers, tolerance=10**9)
        await client.close()
        # Nothing is left, and nothing comes twice.
        await post.send(10)
        assert len(heard) == 4


async def test_an_undone_transaction_tells_nothing(engine: Engine) -> None:
    """The outbox is written with the event: both are there, or neither."""
    async with posting(engine.database, OK) as (post, _):
        await post.add("item.succeeded")
        batch = await batch_on(engine)
        await batch.done()
        before = await post.all("SELECT * FROM webhook_outbox")
        assert len(before) == 1

        async def broken() -> None:
            async with post.database.transaction() as connection:
                deltas = Deltas()
                deltas.of(batch.uuid).events.append((EventKind.ITEM_SUCCEEDED, 0, "{}"))
                await deltas.write(connection, post.clock.now())
                assert len(await connection.fetch("SELECT FROM webhook_outbox")) == 2
                raise InterruptedError

        with pytest.raises(InterruptedError):
            await broken()
        assert await post.all("SELECT * FROM webhook_outbox") == before


async def test_many_items_go_together(engine: Engine) -> None:
    """Items that end within a second are one message; 1,200 are three, in the order of ending."""
    async with posting(engine.database, OK) as (post, heard):
        batch = await batch_on(engine)
        await batch.done()
        await post.add("item.succeeded")
        done = EventKind.ITEM_SUCCEEDED
        for idx in range(3):
            await tell(post, batch.uuid, (done, idx, "{}"))
            await post.send(0.3)
        assert heard == []
        await post.send(0.2)
        assert [x["row_number"] for x in heard[0].json["data"]["items"]] == [1, 2, 3]
        await tell(post, batch.uuid, *[(done, idx, "{}") for idx in range(1200)])
        for _ in range(3):
            await post.send(1.1)
        sizes = [len(one.json["data"]["items"]) for one in heard[1:]]
        assert sizes == [500, 500, 200]
        told = [x["row_number"] for one in heard[1:] for x in one.json["data"]["items"]]
        assert told == list(range(1, 1201))
        assert max(len(one.body) for one in heard) < 32_000


async def test_only_the_tenants_own_and_chosen_events_are_told(engine: Engine) -> None:
    """Another tenant's webhook, another choice, a disabled one: nothing of them is even written."""
    async with posting(engine.database, OK) as (post, _):
        await post.add("batch.expired")
        off = await post.add("batch.completed")
        async with post.database.transaction() as connection:
            await connection.execute("INSERT INTO tenant (id, name) VALUES ('other', 'Other')")
            await webhooks.insert(
                connection, MASTERS, "other", "https://x.example/", list(EVENTS), post.secret,
                post.clock.now(),
            )  # fmt: skip
            await webhooks.change(
                connection, "default", off, None, None, "disabled", post.clock.now()
            )
        await (await batch_on(engine)).done()
        assert await post.all("SELECT * FROM webhook_outbox") == []


# -- until it is taken ---------------------------------------------------------------------------


async def test_the_same_message_comes_again_until_it_is_taken(database: Database) -> None:
    """A failed try is made again after the waits that are promised, under one id, and no more."""
    async with posting(database, says(b"no", 500)) as (post, heard):
        hook = await post.add("batch.completed")
        message = await post.ping(hook)
        await post.send()
        for wait in RETRY_S:
            await post.send(wait * 0.99)
            count = len(heard)
            await post.send(wait * 0.25)
            assert len(heard) == count + 1
        assert len(heard) == 11
        assert len({(one.headers["webhook-id"], one.body) for one in heard}) == 1
        await post.send(2 * 86_400)
        assert len(heard) == 11
        rows_ = await post.all("SELECT id, state, tries FROM webhook_delivery")
        assert rows_ == [{"id": message, "state": "failed", "tries": 11}]
        tries = await post.all(TRY)
        assert tries[0] == {"number": 1, "status": 500, "error": "HTTP 500", "excerpt": "no"}
        # A person asks for it once more: the same message, with all its tries before it.
        async with post.database.transaction() as connection:
            await webhook_deliveries.redeliver(connection, message, post.clock.now())
        await post.send()
        assert len(heard) == 12
        assert heard[11].headers["webhook-id"] == heard[0].headers["webhook-id"]
        await post.send(7)
        assert len(heard) == 13


def test_waits_grow_and_end() -> None:
    """Ten waits with a jitter of a fifth, then no more."""
    random = Random(7)
    for tries, least in enumerate(RETRY_S, 1):
        assert least <= (wait_s(tries, random) or 0) <= least * 1.2
    assert wait_s(11, random) is None
    assert check_events(["item.failed", "batch.failed", "item.failed"]) == [
        "batch.failed", "item.failed"
    ]  # fmt: skip


async def test_gone_disables_at_once_and_failing_after_five_days(database: Database) -> None:
    """410 ends an endpoint; so do five days without a success, but one success begins them anew."""
    async with posting(database, says(b"", 410)) as (post, heard):
        hook = await post.add("batch.completed")
        await post.ping(hook)
        await post.ping(hook)
        post.loop = post.another()
        await post.send()
        assert await post.state(hook) == ("disabled", "it said that it is gone (410)")
        await post.send(86_400)
        states = await post.all("SELECT DISTINCT state FROM webhook_delivery")
        assert states == [{"state": "failed"}]
        assert len(heard) <= 2
    answers = [says(b"", 500), says(b"", 500), OK, says(b"", 500)]
    async with posting(database, *answers) as (post, heard):
        hook = await post.add("batch.completed")
        for day in (0, 4, 1, 1, 4.5, 0.6):
            # Only the one of today: what has failed before is not what this is about.
            async with database.acquire() as connection:
                await connection.execute("DELETE FROM webhook_delivery")
            await post.clock.advance(day * 86_400)
            await post.ping(hook)
            assert (await post.state(hook))[0] == "enabled"
            await post.send()
        assert len(heard) == 6
        assert await post.state(hook) == ("disabled", "it took nothing for 5 days")


async def test_two_secrets_sign_while_one_replaces_the_other(database: Database) -> None:
    """For a day after a rotation both secrets verify, then only the new one."""
    async with posting(database, OK) as (post, heard):
        hook = await post.add("batch.completed")
        fresh = new_standard_secret()
        async with database.transaction() as connection:
            await webhooks.rotate(connection, MASTERS, "default", hook, fresh, post.clock.now())
        for wait, both in ((0, True), (86_401, False)):
            await post.clock.advance(wait)
            await post.ping(hook)
            await post.send()
            one = heard[-1]
            assert is_standard_webhook(one.headers, one.body, fresh, post.clock.now())
            known = is_standard_webhook(one.headers, one.body, post.secret, post.clock.now())
            assert known is both


# -- by one at a time, and in bounds -------------------------------------------------------------


class Hangs:
    """An endpoint that says nothing until it is let go; ``most`` were inside at once."""

    def __init__(self) -> None:
        self.go, self.inside, self.most = asyncio.Event(), 0, 0
        self.entered = asyncio.Semaphore(0)

    async def __call__(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.entered.release()
        await self.go.wait()
        self.inside -= 1
        await OK(heard, writer)


async def test_several_workers_never_send_a_message_at_once(database: Database) -> None:
    """Five processes tick together: each message is sent by one, two at a time to an endpoint."""
    hangs = Hangs()
    async with posting(database, hangs) as (post, heard):
        hook = await post.add("batch.completed")
        for _ in range(6):
            await post.ping(hook)
        others = [post.another() for _ in range(5)]
        for one in others:
            await one.tick()
        await hangs.entered.acquire()
        await hangs.entered.acquire()
        await asyncio.gather(*[one.tick() for one in others])
        assert hangs.most == 2
        hangs.go.set()
        for _ in range(4):
            await asyncio.gather(*[one.sent() for one in others])
            for one in others:
                await one.tick()
        await asyncio.gather(*[one.sent() for one in others])
        assert len(heard) == len({one.headers["webhook-id"] for one in heard}) == 6
        for one in others:
            await one.stop()


async def test_what_a_dead_process_had_in_hand_is_sent_when_its_lease_ends(
    database: Database,
) -> None:
    """Nobody else has the message before; its late first holder's end then changes nothing."""
    async with posting(database, OK) as (post, heard):
        hook = await post.add("batch.completed")
        await post.ping(hook)
        async with database.transaction() as connection:
            (held,) = await webhook_deliveries.claim(
                connection,
                post.clock.now(),
                deliverer.LEASE_S,
                2,
                5,
                MASTERS.known(),
                failing=False,
            )
        await post.send(deliverer.LEASE_S - 1)
        assert heard == []
        await post.send(2)
        assert len(heard) == 1
        late = webhook_deliveries.Tried(500, "HTTP 500", "", 1.0)
        async with database.transaction() as connection:
            assert not await webhook_deliveries.end_try(
                connection, held, late, post.clock.now(), Random(1)
            )
        assert await post.all("SELECT state, tries FROM webhook_delivery") == [
            {"state": "delivered", "tries": 2}
        ]


async def test_a_process_that_ends_gives_back_what_it_sends(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs at the end of a process is another's at once, and counts as no try."""
    monkeypatch.setattr(deliverer, "STOP_S", 0.0)
    hangs = Hangs()
    async with posting(database, hangs, OK) as (post, heard):
        hook = await post.add("batch.completed")
        await post.ping(hook)
        ending = post.another()
        await ending.tick()
        await hangs.entered.acquire()
        await ending.stop()
        await post.send()
        assert len(heard) == 2
        assert await post.all("SELECT state, tries FROM webhook_delivery") == [
            {"state": "delivered", "tries": 1}
        ]
        hangs.go.set()


async def test_hanging_endpoints_hold_up_nobody(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many messages wait for endpoints that hang, another's goes out at the next tick."""
    monkeypatch.setattr(deliverer, "SENDING_MAX", 8)
    monkeypatch.setattr(deliverer, "FAILING_MAX", 3)
    hangs = Hangs()
    async with speaking(hangs) as bad, posting(database, OK) as (post, heard):
        for _ in range(9):
            hook = await post.add("batch.completed", url=f"http://127.0.0.1:{bad.port}/hangs")
            async with database.acquire() as connection:
                await connection.execute("UPDATE webhook SET failing_since = $1", post.clock.now())
            for _ in range(5):
                await post.ping(hook)
        await post.loop.tick()
        for _ in range(3):
            await hangs.entered.acquire()
        good = await post.add("batch.completed")
        await post.ping(good)
        await post.clock.advance(1)
        await post.loop.tick()
        while not heard:
            await asyncio.sleep(0)
        assert hangs.most == 3
        hangs.go.set()
        await post.loop.sent()


async def test_slow_large_and_odd_answers_are_cut(database: Database) -> None:
    """A drip ends with the time, a flood after some bytes; a redirect is not followed."""
    here: list[Any] = []
    flood = says(b"x" * 5_000_000)
    drip = drips(b"HTTP/1.1 200 OK\r\nX: ", lambda: here[0])
    drop = drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", lambda: here[0])
    away = says(b"", 302, {"Location": "http://127.0.0.1:1/"})
    zipped = says(b"\x1f\x8bnot really", 200, {"Content-Encoding": "gzip"})
    odd = b"\x00\xff\xfe" + b"<b>" * 900
    cases: list[tuple[Answer, int | None, str | None]] = [
        (flood, 200, None),
        (drip, None, "no answer within 0.3 s"),
        (drop, 200, None),
        (away, 302, "HTTP 302: redirects are not followed"),
        (zipped, 200, None),
        (says(odd, 418), 418, "HTTP 418"),
        (says(b"", 204), 204, None),
    ]
    for answer, status, error in cases:
        async with speaking(answer) as speaker, posting(database, OK) as (post, _):
            here[:] = [speaker]
            hook = await post.add("batch.completed", url=f"http://127.0.0.1:{speaker.port}/")
            await post.ping(hook)
            post.loop = post.another(send_s=0.3)
            await post.send()
            (tried,) = await post.all(TRY)
            assert (tried["status"], tried["error"]) == (status, error)
            assert len(tried["excerpt"]) <= 400
            assert len(speaker.heard) == 1
        async with database.acquire() as connection:
            await connection.execute("DELETE FROM webhook")


class Rebinds(AbstractResolver):
    """A name server that says a public address first and another one from then on."""

    def __init__(self, *hosts: str) -> None:
        self.hosts, self.asked = list(hosts), 0

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked += 1
        at = self.hosts.pop(0) if len(self.hosts) > 1 else self.hosts[0]
        return [ResolveResult(hostname=host, host=at, port=port, family=2, proto=0, flags=0)]

    async def close(self) -> None:
        """Hold nothing."""


async def test_a_name_that_changes_its_address_reaches_nothing_inside(database: Database) -> None:
    """Each try looks once and goes to the address that was checked; a private one is refused."""
    async with posting(database, OK) as (post, heard):
        # An address for documentation: closed as well, and nobody answers there.
        names = Rebinds("127.0.0.1", "169.254.169.254")
        post.loop = post.another(resolver=names, allowed=frozenset())
        hook = await post.add("batch.completed", url="https://hooks.example.com/")
        await post.ping(hook)
        await post.send()
        await post.send(10)
        errors = [one["error"] for one in await post.all(TRY)]
        assert errors == ["its name leads to a private address"] * 2
        assert names.asked == 2
        assert heard == []
        await post.clock.advance(1)
        # An address as such is looked at as well, also where it was written down before.
        hook = await post.add("batch.completed", url="https://127.0.0.1/")
        await post.ping(hook)
        await post.send()
        assert (await post.all(TRY))[-1]["error"] == "127.0.0.1 is not on the open internet"


async def test_a_checked_address_is_the_one_that_is_reached(database: Database) -> None:
    """Between the look and the connection nothing is looked up a second time."""
    async with posting(database, OK) as (post, heard):
        names = Rebinds("127.0.0.1", "203.0.113.1")
        allowed = frozenset({"hooks.intranet"})
        post.loop = post.another(resolver=names, allowed=allowed)
        hook = await post.add("batch.completed", url=f"http://hooks.intranet:{post.port}/")
        await post.ping(hook)
        await post.send()
        assert (names.asked, len(heard)) == (1, 1)


async def test_a_deleted_webhook_takes_its_outbox_along(engine: Engine) -> None:
    """What was written for an endpoint that is gone, or off, is sent to nobody."""
    async with posting(engine.database, OK) as (post, heard):
        hook = await post.add("item.succeeded", "batch.completed")
        batch = await batch_on(engine)
        await batch.done()
        async with post.database.transaction() as connection:
            await webhooks.delete(connection, "default", hook)
        assert await post.all("SELECT * FROM webhook_outbox") != []
        await post.send(5)
        assert heard == []
        assert await post.all("SELECT * FROM webhook_outbox") == []
        assert (await batch.retry({ItemState.FAILED})) == 1


async def test_an_old_log_is_forgotten(database: Database) -> None:
    """Messages that ended before a day leave the log with their tries, those that wait stay."""
    async with posting(database, OK) as (post, _):
        hook = await post.add("batch.completed")
        await post.ping(hook)
        await post.send()
        await post.clock.advance(60)
        await post.ping(hook)
        async with database.transaction() as connection:
            await webhook_deliveries.prune(connection, post.clock.now())
        states = await post.all("SELECT state FROM webhook_delivery")
        assert states == [{"state": "pending"}]
        assert await post.all(TRY) == []


def test_a_message_is_json_of_a_known_shape() -> None:
    """What goes out is the fields of Standard Webhooks and of OpenAI's events."""
    from datetime import UTC, datetime

    from headrace.webhook import batch_data, message

    at = datetime(2026, 1, 1, tzinfo=UTC)
    told = message(UUID(int=5), "batch.completed", at, batch_data(UUID(int=7), True, None))
    assert json.loads(json.dumps(told)) == {
        "id": "msg_00000000000000000000000005",
        "object": "event",
        "type": "batch.completed",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "created_at": 1767225600,
        "data": {
            "id": "batch_00000000000000000000000007",
            "counts": {},
            "path": "/v1/batches/batch_00000000000000000000000007",
        },
    }
