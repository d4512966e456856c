"""Credits over HTTP: balances, grants, entries, statements, prices, and submits that cannot pay."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.access import Scope
from headrace.config import Config, Retry
from headrace.engine import Engine, open_engine
from headrace.http.app import build_app
from headrace.loops.expirer import Expirer
from headrace.outcome import OutcomeKind
from headrace.store import keys
from headrace.testing import ManualClock
from tests.integration.asgi import Answer, Client
from tests.integration.scripted import Scripted
from tests.integration.test_http import RECIPE

CREDIT = 1_000_000


@dataclass
class Office:
    """An app in this process; ``admin`` and ``guest`` call it, a tenant with a limit each."""

    engine: Engine
    app: Any
    provider: Scripted
    admin: Client
    guest: Client

    async def tenant(self, name: str, scope: Scope = Scope.SUBMIT) -> Client:
        """Make a tenant that may spend what it is granted, and return a client of its own."""
        async with self.engine.database.transaction() as connection:
            await connection.execute("INSERT INTO tenant (id, name) VALUES ($1, $1)", name)
            await connection.execute(
                "INSERT INTO account (tenant_id, kind) VALUES ($1, 'available'), ($1, 'held')", name
            )
            now = self.engine.clock.now()
            secret, _ = await keys.make(connection, name, scope.value, scope, now)
        return Client(self.app, secret)

    async def grant(
        self,
        credits: Any,
        tenant: str = "guest",
        reference: str = "r-1",
        until: datetime | None = None,
    ) -> Answer:
        """Give credits, as an admin."""
        body = {"tenant": tenant, "credits": credits, "reference": reference}
        if until is not None:
            body["expires_at"] = until.isoformat()
        return await self.admin("POST", "/api/credits/grants", body)

    async def balance(self) -> tuple[int, int]:
        """The guest's micro-credits: available and held."""
        told = (await self.guest("GET", "/api/credits/balance")).json
        return told["available_microcredits"], told["held_microcredits"]

    async def submit(self, *words: str) -> Answer:
        """Submit a row for each word, as the guest."""
        rows = [{"t": word} for word in words]
        return await self.guest("POST", "/api/batches", {"recipe": "words", "rows": rows})

    async def done(self, *words: str) -> str:
        """Submit, wait for the end, and return the batch's id."""
        batch_id: str = (await self.submit(*words)).json["id"]
        await self.engine.batch(batch_id).done()
        return batch_id


def script(prompt: str, nth: int) -> OutcomeKind | None:
    """Some are refused."""
    return OutcomeKind.REFUSED if prompt.startswith("refuse") else None


@asynccontextmanager
async def office_on(url: str, home: Path, provider: Scripted) -> AsyncIterator[Office]:
    """Open an engine with that provider, and an app over it with two tenants."""
    (home / "recipes").mkdir()
    (home / "recipes" / "words.toml").write_text(RECIPE)
    retry = Retry(attempts=3, base_s=0, cap_s=0)
    config = Config(home=str(home), database_url=url, retry=retry)
    async with open_engine(config, providers={"scripted": provider}) as engine:
        async with engine.database.transaction() as connection:
            now = engine.clock.now()
            secret, _ = await keys.make(connection, "default", "admin", Scope.ADMIN, now)
        app = build_app(engine)
        made = Office(engine, app, provider, Client(app, secret), Client(app, ""))
        made.guest = await made.tenant("guest")
        yield made


@pytest.fixture
async def office(database_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    async with office_on(database_url, tmp_path, Scripted(script)) as one:
        yield one


# -- grants and balances -----------------------------------------------------------------------


async def test_a_grant_that_expires_is_seen_everywhere(office: Office) -> None:
    """In the balance, the list of grants, and at its end in the statement; a bad end is told."""
    until = office.engine.clock.now() + timedelta(days=2)
    made = await office.grant("2.5", until=until)
    assert (made.status, made.json["expires_at"]) == (201, until.isoformat())
    assert (await office.grant("2.5", until=until)).status == 200
    assert (await office.grant("2.5")).status == 409
    assert (await office.grant("1", reference="old", until=until - timedelta(days=3))).status == 400
    body = {"credits": 1, "reference": "odd", "expires_at": "soon"}
    assert (await office.admin("POST", "/api/credits/grants", body)).status == 422
    told = (await office.guest("GET", "/api/credits/balance")).json
    assert told["expiring"] == [
        {
            "entry": made.json["entry"],
            "expires_at": until.isoformat(),
            "available_microcredits": 2_500_000,
            "held_microcredits": 0,
        }
    ]
    late = ManualClock(until)
    await Expirer(office.engine.database, late).tick()
    told = (await office.guest("GET", "/api/credits/balance")).json
    assert (told["available_microcredits"], told["expiring"]) == (0, [])
    latest, first = (await office.guest("GET", "/api/credits/entries")).json["entries"]
    assert (latest["kind"], latest["available"], first["expires_at"]) == (
        "expire", -2_500_000, until.isoformat(),
    )  # fmt: skip


async def test_the_balance_is_told_behind_a_pooler(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a block is one transaction, balance and grants come out of that one's snapshot."""
    monkeypatch.setattr(office.engine.database, "_pooled", True)
    await office.grant(5)
    assert await office.balance() == (5 * CREDIT, 0)


async def test_a_grant_is_made_once_for_its_reference(office: Office) -> None:
    """Twenty at once under one reference are one grant; another amount under it is refused."""
    answers = await asyncio.gather(*(office.grant("2.5") for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    assert len({answer.json["entry"] for answer in answers}) == 1
    assert await office.balance() == (2_500_000, 0)
    other = await office.grant(3)
    assert (other.status, other.json["code"]) == (409, "conflict")
    assert (await office.grant(3, reference="r-2")).json["credits"] == "3"
    assert await office.balance() == (5_500_000, 0)
    listed = (await office.guest("GET", "/api/credits/grants")).json["entries"]
    assert [entry["reference"] for entry in listed] == ["r-2", "r-1"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"credits": "1"}, 422),
        ({"credits": "0", "reference": "x"}, 400),
        ({"credits": -1, "reference": "x"}, 400),
        ({"credits": True, "reference": "x"}, 422),
        ({"credits": "1e40", "reference": "x"}, 400),
        ({"credits": "0.00000001", "reference": "x"}, 400),
        ({"credits": 1, "reference": "x" * 201}, 422),
        ({"credits": 1, "reference": "a\u0000b"}, 422),
        ({"credits": 1, "reference": "x", "reason": ""}, 422),
        ({"credits": 1, "reference": "x", "tenant": "nobody"}, 404),
        ({"credits": 1, "reference": "x", "tenant": "a\u0000b"}, 404),
        ({"credits": 1, "reference": "x", "to": "guest"}, 422),
        ([], 422),
    ],
)
async def test_a_bad_grant_moves_nothing(office: Office, body: Any, status: int) -> None:
    """What is no amount, no reference or no tenant is told."""
    answer = await office.admin("POST", "/api/credits/grants", body)
    assert answer.status == status, answer.json
    assert answer.json["detail"]
    assert (await office.admin("GET", "/api/credits/grants")).json["entries"] == []


async def test_a_balance_has_a_most(office: Office) -> None:
    """Grants that would leave what can be counted are refused, and nothing moves."""
    assert (await office.grant("999999999999", reference="a")).status == 201
    before = await office.balance()
    answer = await office.grant("999999999999", reference="b")
    assert (answer.status, answer.json["code"]) == (400, "usage")
    assert await office.balance() == before


async def test_only_an_admin_grants_prices_and_audits(office: Office) -> None:
    """A tenant's key sees its own credits, no other's, and moves none."""
    for method, path in (
        ("POST", "/api/credits/grants"), ("GET", "/api/credits/verify"),
        ("POST", "/api/price-book"),
    ):  # fmt: skip
        answer = await office.guest(method, path, {} if method == "POST" else None)
        assert (answer.status, answer.json["code"]) == (403, "forbidden")
    for part in ("balance", "entries", "grants", "statement"):
        path = f"/api/credits/{part}?tenant="
        assert (await office.guest("GET", f"{path}default")).status == 404
        assert (await office.guest("GET", f"{path}guest")).status == 200
        assert (await office.admin("GET", f"{path}guest")).status == 200
        for nobody in ("nobody", "%00", "%FF", ""):
            assert (await office.admin("GET", path + nobody)).status == 404
        assert (await Client(office.app, "")("GET", f"/api/credits/{part}")).status == 401


async def test_a_tenants_admin_has_the_credits_of_its_tenant_only(office: Office) -> None:
    """An admin key of a tenant grants nothing, prices nothing, audits nothing, sees no other's."""
    own = await office.tenant("second", Scope.ADMIN)
    wanted = {"credits": "1000", "reference": "mine"}
    price = {"kind": "default", "margin": "0.5"}
    for method, path, body in (
        ("POST", "/api/credits/grants", wanted),
        ("POST", "/api/credits/grants", {**wanted, "tenant": "guest"}),
        ("GET", "/api/credits/verify", None),
        ("POST", "/api/price-book", price),
        ("GET", "/api/price-book/history", None),
    ):
        answer = await own(method, path, body)
        assert (answer.status, answer.json["code"]) == (403, "forbidden"), path
    for part in ("balance", "entries", "grants", "statement"):
        assert (await own("GET", f"/api/credits/{part}?tenant=guest")).status == 404
        assert (await own("GET", f"/api/credits/{part}")).status == 200
    assert (await office.admin("POST", "/api/price-book", price)).status == 201
    (rule,) = (await own("GET", "/api/price-book")).json["rules"]
    assert "margin" not in rule


# -- what cannot be paid -----------------------------------------------------------------------


async def test_a_submit_that_cannot_pay_makes_nothing(office: Office) -> None:
    """402 with what is needed, available and missing; no batch, no item, no credit moved."""
    await office.grant("2.5")
    answer = await office.submit("a", "b", "c")
    assert answer.status == 402
    told = answer.json
    assert told["code"] == "insufficient_credits"
    assert told["needed_microcredits"] == 3 * CREDIT
    assert told["available_microcredits"] == 2_500_000
    assert told["missing_microcredits"] == 500_000
    assert "0.5" in told["remedy"]
    assert await office.balance() == (2_500_000, 0)
    assert (await office.guest("GET", "/api/batches")).json["batches"] == []
    async with office.engine.database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM item") == 0
    assert (await office.submit("a", "b")).status == 201


async def test_on_demand_that_cannot_pay_makes_nothing(office: Office) -> None:
    """Under /v1 it is what OpenAI says of spent funds, not to be retried; nobody was called."""
    body = {"model": "scripted:m", "prompt": "a mill"}
    answer = await office.guest("POST", "/v1/images/generations", body)
    assert (answer.status, answer.headers["x-should-retry"]) == (429, "false")
    assert answer.json["error"]["code"] == "insufficient_quota"
    assert office.provider.prompts == []
    assert await office.balance() == (0, 0)


async def test_a_batch_file_that_cannot_pay_fails_with_the_reason(office: Office) -> None:
    """Under /v1/batches the batch is failed with that code, and nothing is set aside."""
    await office.grant(1)
    lines = [
        json.dumps(
            {
                "custom_id": f"c{number}",
                "method": "POST",
                "url": "/v1/images/generations",
                "body": {"model": "scripted:m", "prompt": f"mill {number}"},
            }
        )
        for number in range(2)
    ]
    part = "Content-Disposition: form-data; name="
    form = (
        f'--x\r\n{part}"purpose"\r\n\r\nbatch\r\n'
        f'--x\r\n{part}"file"; filename="in.jsonl"\r\n\r\n' + "\n".join(lines) + "\r\n--x--\r\n"
    )
    kind = "multipart/form-data; boundary=x"
    file = (await office.guest("POST", "/v1/files", form.encode(), content_type=kind)).json
    asked = {
        "input_file_id": file["id"],
        "endpoint": "/v1/images/generations",
        "completion_window": "24h",
    }
    told = (await office.guest("POST", "/v1/batches", asked)).json
    async with asyncio.timeout(60):
        while told["status"] not in ("failed", "completed"):
            told = (await office.guest("GET", f"/v1/batches/{told['id']}")).json
            await asyncio.sleep(0)
    assert told["status"] == "failed"
    assert told["errors"]["data"][0]["code"] == "insufficient_credits"
    assert await office.balance() == (CREDIT, 0)
    assert office.provider.prompts == []


async def test_a_retry_that_cannot_pay_changes_nothing(office: Office) -> None:
    """Items stay as they ended, and the batch stays over."""
    await office.grant(1)
    batch_id = await office.done("refuse it")
    assert await office.balance() == (CREDIT, 0)
    await office.done("a")
    answer = await office.guest("POST", f"/api/batches/{batch_id}/retry")
    assert (answer.status, answer.json["missing_microcredits"]) == (402, CREDIT)
    shown = (await office.guest("GET", f"/api/batches/{batch_id}")).json
    assert (shown["state"], shown["counts"]["refused"]) == ("completed", 1)


async def test_two_hundred_at_once_spend_exactly_what_is_there(office: Office) -> None:
    """Of 200 submits that race for one balance as many are taken as it carries, and no fewer."""
    await office.grant("37.9")
    office.provider.gate.clear()
    answers = await asyncio.gather(*(office.submit(f"a {n}") for n in range(200)))
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(402)) == (37, 163)
    assert await office.balance() == (900_000, 37 * CREDIT)
    office.provider.gate.set()
    for answer in answers:
        if answer.status == 201:
            await office.engine.batch(answer.json["id"]).done()
    assert await office.balance() == (900_000, 0)
    assert (await office.admin("GET", "/api/credits/verify")).json["findings"] == []


# -- entries and statements --------------------------------------------------------------------


async def test_entries_are_paged_without_gaps(office: Office) -> None:
    """Each movement once, the latest first, whatever comes in between two pages."""
    await office.grant(20)
    await office.done(*(f"a {n}" for n in range(7)), "refuse x")
    seen: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await office.guest("GET", f"/api/credits/entries?limit=3{cursor}")).json
        seen += page["entries"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
        await office.grant(1, reference=f"later {len(seen)}")
    assert [entry["kind"] for entry in seen].count("post") == 7
    assert [entry["kind"] for entry in seen].count("void") == 1
    assert [seen[-2]["kind"], seen[-1]["kind"]] == ["reserve", "grant"]
    assert len({entry["entry"] for entry in seen}) == len(seen) == 10
    assert sum(entry["available"] for entry in seen) == 13 * CREDIT
    assert sum(entry["held"] for entry in seen) == 0
    void = next(entry for entry in seen if entry["kind"] == "void")
    assert (void["row_number"], void["round"], void["reason"]) == (8, 1, "refused")


@pytest.mark.parametrize("cursor", ["x", "%00", "MTIz", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjE", "LS4t"])
async def test_a_forged_cursor_is_told(office: Office, cursor: str) -> None:
    """What is no cursor of ours is a bad request, nothing worse."""
    answer = await office.guest("GET", f"/api/credits/entries?cursor={cursor}")
    assert (answer.status, answer.json["code"]) == (400, "usage")
    answer = await office.admin("GET", f"/api/price-book/history?cursor={cursor}")
    assert answer.status == 400


async def test_a_statement_adds_up(office: Office) -> None:
    """Opening and entries make the closing balance, as JSON and, line by line, as a table."""
    await office.grant(5, reference="=HYPERLINK(1)")
    await office.done("a", "refuse b")
    before = (await office.guest("GET", "/api/credits/statement")).json
    assert before["opening"] == {"available_microcredits": 0, "held_microcredits": 0}
    assert before["closing"] == {"available_microcredits": 4 * CREDIT, "held_microcredits": 0}
    assert before["totals_microcredits"] == {
        "grant": 5 * CREDIT, "reserve": 2 * CREDIT, "post": CREDIT, "void": CREDIT,
    }  # fmt: skip
    middle = (office.engine.clock.now()).isoformat().replace("+00:00", "Z")
    await office.done("c")
    after = (await office.guest("GET", f"/api/credits/statement?from={middle}")).json
    assert after["opening"] == before["closing"]
    assert after["closing"]["available_microcredits"] == 3 * CREDIT
    assert [entry["kind"] for entry in after["entries"]] == ["reserve", "post"]
    answer = await office.guest("GET", "/api/credits/statement?format=csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert rows[0]["reference"] == "'=HYPERLINK(1)"
    assert [rows[-1]["available"], rows[-1]["held"]] == ["3", "0"]
    assert len(rows) == len(before["entries"]) + 2


async def test_costs_stand_in_focus_columns(office: Office) -> None:
    """What calls cost by day, lane and batch; a cost that nobody knows is empty, not zero."""
    await office.grant(9)
    batch_id = await office.done("a", "b", "refuse c")
    async with office.engine.database.transaction() as connection:
        await connection.execute(
            "UPDATE attempt SET cost_microusd = NULL WHERE outcome = 'success' AND idx = 1"
        )
    answer = await office.guest("GET", "/api/credits/statement?format=focus")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [(row["BilledCost"], row["x_CostBasis"]) for row in rows] == [
        ("0.04", "told"),
        ("", "unknown"),
    ]
    told = rows[0]
    assert told["BillingCurrency"] == "USD"
    assert (told["ConsumedQuantity"], told["SubAccountId"]) == ("1", "guest")
    assert told["ResourceId"] == batch_id
    day = office.engine.clock.now().strftime("%Y-%m-%dT00:00:00Z")
    assert told["ChargePeriodStart"] == day
    empty = await office.admin("GET", "/api/credits/statement?format=focus&tenant=default")
    assert len(empty.body.splitlines()) == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("format=xml", 400),
        ("from=soon", 422),
        ("to=0001-01-01", 422),
        ("from=2200-01-01", 400),
        ("from=2026-02-01&to=2026-01-01", 400),
        ("from=%00", 422),
    ],
)
async def test_a_statement_that_cannot_be_meant_is_told(
    office: Office, query: str, status: int
) -> None:
    """Odd times and formats are refused before anything is streamed."""
    answer = await office.guest("GET", f"/api/credits/statement?{query}")
    assert answer.status == status
    assert answer.json["detail"]


async def test_a_long_statement_holds_no_connection(office: Office) -> None:
    """Fifty statements are begun, none is read on, and the database still serves others."""
    await office.grant(5)
    slow: list[asyncio.Task[None]] = []
    stuck, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            begun.release()
            await stuck.wait()

    for _ in range(50):
        slow.append(asyncio.create_task(office.guest.stream("/api/credits/statement", send)))
    for _ in range(50):
        await begun.acquire()
    assert (await office.submit("a")).status == 201
    stuck.set()
    await asyncio.gather(*slow)


# -- the price book ----------------------------------------------------------------------------


async def test_prices_are_added_and_told(office: Office) -> None:
    """A price counts from its time on, what it was stays known, and a coming one waits."""
    soon = (office.engine.clock.now() + timedelta(days=1)).isoformat()
    for body in (
        {"kind": "model", "name": "scripted:m", "credits": "0.25"},
        {"kind": "model", "name": "scripted:m", "credits": 9, "from": soon},
        {"kind": "default", "margin": "0.2", "at_most": 1},
        {"kind": "default", "end": True},
    ):
        answer = await office.admin("POST", "/api/price-book", body)
        assert answer.status == 201, answer.json
    rules = (await office.guest("GET", "/api/price-book")).json["rules"]
    assert [(rule["name"], rule["credits"]) for rule in rules] == [("scripted:m", "0.25")]
    first = (await office.admin("GET", "/api/price-book/history?limit=3")).json
    rest = (await office.admin("GET", f"/api/price-book/history?cursor={first['next']}")).json
    kinds = [rule["kind"] for rule in first["rules"] + rest["rules"]]
    assert (kinds, rest["next"]) == (["default", "default", "model", "model"], None)
    await office.grant(1)
    await office.done("a")
    assert await office.balance() == (750_000, 0)


async def test_a_margin_is_the_operators_to_know(office: Office) -> None:
    """Others are told that a price follows the cost and what it is at most, not the margin."""
    body = {"kind": "default", "margin": "0.2", "at_most": 1}
    await office.admin("POST", "/api/price-book", body)
    (mine,) = (await office.admin("GET", "/api/price-book")).json["rules"]
    (theirs,) = (await office.guest("GET", "/api/price-book")).json["rules"]
    assert mine["margin"] == "0.2"
    assert set(mine) - set(theirs) == {"margin", "credits_per_usd"}
    assert (theirs["by_cost"], theirs["at_most"]) == (True, "1")
    assert (await office.guest("GET", "/api/price-book/history")).status == 403


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "default"},
        {"kind": "everything", "credits": 1},
        {"kind": "default", "credits": 1, "margin": 1},
        {"kind": "default", "credits": 1, "from": "2001-01-01"},
        {"kind": "default", "credits": [1]},
        {"kind": "model", "name": "a\u0000:b", "credits": 1},
        {"kind": "default", "credits": 1, "why": "x"},
    ],
)
async def test_a_bad_price_is_refused(office: Office, body: dict[str, Any]) -> None:
    """What is no rule is told, and the book stays as it was."""
    answer = await office.admin("POST", "/api/price-book", body)
    assert answer.status in (400, 422), answer.json
    assert (await office.guest("GET", "/api/price-book")).json == {"rules": []}


async def test_the_book_is_never_rewritten(office: Office) -> None:
    """The database itself refuses to change or remove a rule."""
    await office.admin("POST", "/api/price-book", {"kind": "default", "credits": 1})
    async with office.engine.database.acquire() as connection:
        for told in ("UPDATE price_rule SET credits_microcredits = 2", "DELETE FROM price_rule"):
            with pytest.raises(Exception, match="append-only"):
                await connection.execute(told)
