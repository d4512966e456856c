"""The ledger under fire: any course of calls of the API, and the books are right after each one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from headrace.loops.expirer import Expirer
from headrace.outcome import OutcomeKind
from headrace.price import Price
from headrace.provider import Call, Reply
from headrace.request import Request
from headrace.testing import ManualClock
from tests.integration.asgi import Answer, Client
from tests.integration.scripted import Scripted
from tests.integration.test_http_credits import Office, office_on

T = TypeVar("T")
FAILURES = {
    "refuse": OutcomeKind.REFUSED,
    "invalid": OutcomeKind.INVALID,
    "again": OutcomeKind.TRANSIENT,
    "unseen": OutcomeKind.UNKNOWN,
}
words = st.sampled_from(["good", "good", "dear", "cheap", "untold", *FAILURES, "", "same"])
rows = st.lists(words, min_size=1, max_size=6) | st.just(["good", "cheap", "refuse", "again"])
amounts = st.sampled_from(["0.000001", "0.04", "1", "2.5", "7"])
prices = st.sampled_from(
    [
        {"kind": "default", "credits": "0.5"},
        {"kind": "default", "margin": "0.333333"},
        {"kind": "default", "end": True},
        {"kind": "model", "name": "scripted:m", "margin": "0", "at_most": "0.06"},
        {"kind": "model", "name": "scripted:m", "end": True},
        {"kind": "recipe", "name": "words", "credits": "1", "cached_credits": "0.1"},
        {"kind": "recipe", "name": "words", "end": True},
        {"kind": "provider", "name": "scripted", "credits": "0"},
        {"kind": "provider", "name": "scripted", "end": True},
    ]
)
ENDS = [body for body in prices.elements if "end" in body]  # type: ignore[attr-defined]


class Fickle(Scripted):
    """What a call does, and costs, is in the first word of its prompt."""

    costs: ClassVar[dict[str, int | None]] = {"dear": 90_000, "cheap": 1, "untold": None}

    def price(self, request: Request) -> Price:
        """Return what a call may cost; a dear one costs more."""
        return Price(1_000_000, 50_000)

    async def call(self, call: Call) -> Reply:
        """Do as the word says."""
        reply = await super().call(call)
        cost = self.costs.get(call.request.params["prompt"].split(" ")[0], 40_000)
        return Reply(reply.media_type, body=reply.body, cost_microusd=cost)


def script(prompt: str, nth: int) -> OutcomeKind | None:
    """Failures by the first word; one of them goes away."""
    word = prompt.split(" ", maxsplit=1)[0]
    return None if word == "again" and nth > 1 else FAILURES.get(word)


class Fire(RuleBasedStateMachine):
    """One tenant whose keys do what they may, in any order."""

    office: ClassVar[Office]
    loop: ClassVar[asyncio.AbstractEventLoop]
    names: ClassVar[Iterator[int]]
    batches = Bundle("batches")

    def run(self, work: Awaitable[T]) -> T:
        """Let the engine and its app run until this is done."""
        return self.loop.run_until_complete(work)  # type: ignore[arg-type]

    @initialize(first=prices, then=prices)
    def open_an_account(self, first: dict[str, Any], then: dict[str, Any]) -> None:
        """A tenant of its own with some credits, some prices, a provider that answers."""
        self.tenant = f"t{next(self.names)}"
        self.client: Client = self.run(self.office.tenant(self.tenant))
        self.count = 0
        self.made: list[str] = []
        for body in ENDS:
            self.price(body)
        self.price(first)
        self.price(then)
        self.grant("12.5")
        self.office.provider.gate.set()

    def call(self, *told: Any, **headers: str) -> Answer:
        """Call the API as the tenant; nothing is ever unexpected."""
        answer = self.run(self.client(*told, **headers))
        assert answer.status < 500, answer.body
        return answer

    @rule(credits=amounts)
    def grant(self, credits: str) -> None:
        """Credits come in."""
        self.count += 1
        made = self.run(self.office.grant(credits, self.tenant, f"{self.tenant} {self.count}"))
        assert made.status == 201

    @rule(credits=amounts, days=st.integers(1, 3))
    def grant_for_a_while(self, credits: str, days: int) -> None:
        """Credits come in that end."""
        self.count += 1
        until = self.office.engine.clock.now() + timedelta(days=days)
        made = self.run(
            self.office.grant(credits, self.tenant, f"{self.tenant} {self.count}", until)
        )
        assert made.status == 201

    @rule(days=st.integers(1, 3))
    def expire(self, days: int) -> None:
        """The expirer sees what is left so many days from now; a second look finds nothing."""
        engine = self.office.engine
        late = engine.clock.now() + timedelta(days=days, hours=1)
        expirer = Expirer(engine.database, ManualClock(late))
        self.run(expirer.tick())
        lots = self.call("GET", "/api/credits/balance").json["expiring"]
        over = [lot for lot in lots if lot["expires_at"] <= late.isoformat()]
        quiet = self.office.provider.gate.is_set() and not self.made
        assert not quiet or all(lot["available_microcredits"] == 0 for lot in over)

    @rule(body=prices)
    def price(self, body: dict[str, Any]) -> None:
        """A price changes."""
        assert self.run(self.office.admin("POST", "/api/price-book", body)).status == 201

    @rule(target=batches, said=rows)
    def submit(self, said: list[str]) -> str:
        """Rows of any fate; what cannot be paid is refused for exactly that reason."""
        self.count += 1
        given = [{"t": word if word in ("", "same") else f"{word} {self.count}"} for word in said]
        body = {"recipe": "words", "rows": given, "cache": "reuse", "canary": 0}
        answer = self.call("POST", "/api/batches", body)
        if answer.status == 402:
            told = answer.json
            missing = told["needed_microcredits"] - told["available_microcredits"]
            assert missing == told["missing_microcredits"] > 0
            return ""
        assert answer.status == 201, answer.json
        self.made.append(answer.json["id"])
        return str(answer.json["id"])

    @rule(word=words)
    def generate(self, word: str) -> None:
        """One result now, where the provider answers at all."""
        if self.office.provider.gate.is_set() and word not in ("", "unseen"):
            body = {"model": "scripted:m", "prompt": f"{word} {self.count}"}
            self.call("POST", "/v1/images/generations", body)

    @rule(batch=batches, action=st.sampled_from(["pause", "resume", "cancel", "retry"]))
    def steer(self, batch: str, action: str) -> None:
        """A person steers; what cannot be is told."""
        if batch:
            self.call("POST", f"/api/batches/{batch}/{action}")

    @rule(is_open=st.booleans())
    def hold(self, is_open: bool) -> None:
        """The provider answers, or lets all wait."""
        (self.office.provider.gate.set if is_open else self.office.provider.gate.clear)()

    @rule()
    def settle(self) -> None:
        """Let what runs come to its end."""
        self.office.provider.gate.set()
        for batch in self.made:
            self.wait(batch)

    def wait(self, batch: str) -> None:
        """Wait until a batch has ended; one that is paused stays so."""
        if self.run(self.office.engine.batch(batch).summary()).state != "paused":
            self.run(self.office.engine.batch(batch).done())

    @invariant()
    def books(self) -> None:
        """Nothing is negative, all accounts are zero together, and transfers say the same."""
        if not hasattr(self, "tenant"):
            return
        told = self.call("GET", "/api/credits/balance").json
        assert told["available_microcredits"] >= 0
        assert told["held_microcredits"] >= 0
        assert self.run(self._total()) == 0
        statement = self.call("GET", "/api/credits/statement").json
        sums = statement["totals_microcredits"]
        closing = sum(statement["closing"].values())
        spent = sums.get("post", 0) + sums.get("expire", 0)
        assert closing == sums.get("grant", 0) - spent
        lots = told["expiring"]
        for kind in ("available_microcredits", "held_microcredits"):
            assert sum(lot[kind] for lot in lots) <= told[kind]
            assert all(lot[kind] >= 0 for lot in lots)

    async def _total(self) -> int:
        async with self.office.engine.database.acquire() as connection:
            found: int = await connection.fetchval("SELECT sum(balance_microcredits) FROM account")
        return found

    def teardown(self) -> None:
        """When all have ended nothing is held, and the audit finds nothing."""
        if not hasattr(self, "made"):
            return
        self.office.provider.gate.set()
        for batch in self.made:
            self.call("POST", f"/api/batches/{batch}/resume")
            self.wait(batch)
        assert self.call("GET", "/api/credits/balance").json["held_microcredits"] == 0
        audit = self.run(self.office.admin("GET", "/api/credits/verify")).json
        assert audit["findings"] == []


@pytest.fixture
def numbers() -> Iterator[int]:
    return iter(range(10_000))


def test_the_books_are_right_whatever_is_called(
    database_url: str, tmp_path: Path, numbers: Iterator[int]
) -> None:
    """Grants, prices, submits, retries, cancels and answers in any order keep the ledger exact."""
    loop = asyncio.new_event_loop()
    opened = office_on(database_url, tmp_path, Fickle(script))
    Fire.office = loop.run_until_complete(opened.__aenter__())
    Fire.loop, Fire.names = loop, numbers
    try:
        run_state_machine_as_test(
            Fire,
            settings=settings(
                max_examples=25,
                stateful_step_count=20,
                deadline=None,
                derandomize=True,
                database=None,
                # What runs beside the calls is never twice the same, so nothing is shrunk.
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.run_until_complete(opened.__aexit__(None, None, None))
        loop.close()
