"""What items are charged under the price book, to the micro-credit, whatever becomes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config, Retry
from headrace.engine import Engine, open_engine
from headrace.errors import InsufficientCreditsError, UsageError
from headrace.estimate import estimate_rows
from headrace.lifecycle import ItemState
from headrace.outcome import OutcomeKind
from headrace.price import Price
from headrace.price_book import read_rule
from headrace.provider import Call, Reply
from headrace.recipe import Recipe, parse_recipe
from headrace.request import Request
from headrace.source import Row
from headrace.store import credits as store
from headrace.store import ledger, price_book
from headrace.store.audit import verify
from headrace.submission import Terms
from headrace.watching import Batch
from tests.integration.scripted import Scripted

CREDIT = 1_000_000
CENT = 10_000


class Costly(Scripted):
    """A call may cost ``most`` and costs what ``cost`` says of its prompt, all in micro-USD."""

    most: int | None = 10 * CENT
    cost: Callable[[str], int | None] = staticmethod(lambda prompt: 4 * CENT)

    def price(self, request: Request) -> Price:
        """One credit where no rule prices it."""
        return Price(CREDIT, self.most)

    async def call(self, call: Call) -> Reply:
        """Succeed as scripted, at that cost."""
        reply = await super().call(call)
        cost = self.cost(call.request.params["prompt"])
        return Reply(reply.media_type, body=reply.body, cost_microusd=cost)


@dataclass
class Shop:
    """An engine with two providers, one tenant's balance, and a price book to write in."""

    engine: Engine
    one: Costly
    two: Costly
    recipes: dict[str, Recipe] = field(default_factory=dict)

    async def priced(self, kind: str, name: str = "", **told: Any) -> None:
        """Add a rule."""
        now = self.engine.clock.now()
        async with self.engine.database.transaction() as connection:
            rule = read_rule({"kind": kind, "name": name, **told}, now)
            await price_book.add(connection, rule, now)

    async def submit(self, recipe: Recipe, *words: str, **terms: Any) -> Batch:
        """Submit a row for each word."""
        rows = [{"t": word} for word in words]
        terms = {"canary": 0, **terms}
        return await self.engine.submit(rows, recipe, columns=["t"], terms=Terms(**terms))

    async def spent(self, recipe: Recipe, *words: str, **terms: Any) -> list[int]:
        """Submit, wait for the end, and return what each item was charged, in micro-credits."""
        batch = await self.submit(recipe, *words, **terms)
        await batch.done()
        return await self.charged(batch)

    async def charged(self, batch: Batch) -> list[int]:
        """What each item of a batch was charged, by the ledger; the books are looked through."""
        async with self.engine.database.acquire() as connection:
            rows = await connection.fetch(
                "SELECT idx, sum(amount_microcredits)::bigint AS amount FROM transfer "
                "WHERE kind = 'post' AND batch_id = $1 GROUP BY idx",
                batch.uuid,
            )
            assert await verify(connection) == []
            assert (await store.balance(connection, "default")).held_microcredits == 0
        posted = {row["idx"]: row["amount"] for row in rows}
        return [posted.get(number, 0) for number in range((await batch.summary()).item_count)]

    async def total(self, kind: str) -> int:
        """The sum of all transfers of a kind."""
        async with self.engine.database.acquire() as connection:
            found: int = await connection.fetchval(
                "SELECT coalesce(sum(amount_microcredits), 0)::bigint FROM transfer "
                "WHERE kind = $1",
                kind,
            )
        return found


def recipe(*stages: dict[str, Any], name: str = "test") -> Recipe:
    """A recipe over one column; without stages, one call to the first provider."""
    made = list(stages) or [stage("make", "one:m")]
    body = {"name": name, "columns": {"required": ["t"]}, "stages": made}
    return parse_recipe(body, "test")


def stage(name: str, *models: str, prompt: str = "{{ t }}") -> dict[str, Any]:
    """A stage that asks a model, or one of several."""
    whom = {"model": models[0]} if len(models) == 1 else {"models": list(models)}
    return {"name": name, "kind": "generate", "prompt": prompt, **whom}


def script(prompt: str, nth: int) -> OutcomeKind | None:
    """Words that say what happens to them."""
    kinds = {"refuse": OutcomeKind.REFUSED, "fail": OutcomeKind.INVALID}
    if prompt.startswith("once") and nth == 1:
        return OutcomeKind.INVALID
    return kinds.get(prompt.split(" ", maxsplit=1)[0])


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    one, two = Costly(script, name="one"), Costly(script, name="two")
    config = Config(
        home=str(tmp_path), database_url=database_url, retry=Retry(attempts=2, base_s=0, cap_s=0)
    )
    async with open_engine(config, providers={"one": one, "two": two}) as engine:
        yield Shop(engine, one, two)


async def test_without_a_book_the_settings_price_counts(shop: Shop) -> None:
    """A result costs what its provider's settings name, as ever."""
    assert await shop.spent(recipe(), "a", "b") == [CREDIT, CREDIT]


async def test_a_fixed_price_is_charged_for_what_is_delivered(shop: Shop) -> None:
    """Two credits for each result; failed and refused ones cost nothing, their reserve returns."""
    await shop.priced("model", "one:m", credits="2")
    assert await shop.spent(recipe(), "a", "refuse", "fail") == [2 * CREDIT, 0, 0]
    assert await shop.total("reserve") == 6 * CREDIT
    assert await shop.total("void") == 4 * CREDIT


async def test_a_margin_is_over_the_true_cost(shop: Shop) -> None:
    """The worst case is set aside; the true cost and its margin are charged, the rest returns."""
    shop.one.cost = lambda prompt: {"a": 4 * CENT, "b": 1, "c": 10 * CENT}[prompt]
    await shop.priced("default", margin="0.3")
    assert await shop.spent(recipe(), "a", "b", "c") == [52_000, 2, 130_000]
    assert await shop.total("reserve") == 3 * 130_000


async def test_a_cost_that_is_not_told_is_charged_at_the_worst_case(shop: Shop) -> None:
    """Neither cost nor estimate: what was set aside is what it is charged."""
    shop.one.cost = lambda prompt: None
    await shop.priced("default", margin="0")
    assert await shop.spent(recipe(), "a") == [100_000]


async def test_more_than_was_set_aside_is_the_operators(shop: Shop) -> None:
    """A call that costs more than it could is charged to the reserve; overrun pays the rest."""
    shop.one.cost = lambda prompt: 25 * CENT
    await shop.priced("default", margin="1")
    assert await shop.spent(recipe(), "a") == [200_000]
    assert await shop.total("overrun") == 300_000


async def test_a_call_of_unknown_cost_needs_a_most(shop: Shop) -> None:
    """Where nobody can say what a call costs at most, a submit is refused until a rule says it."""
    shop.one.most = None
    await shop.priced("default", margin="0.5")
    with pytest.raises(UsageError, match="at most"):
        await shop.submit(recipe(), "a")
    assert await shop.engine.recent() == []
    await shop.priced("default", margin="0.5", at_most="0.05")
    assert await shop.spent(recipe(), "a") == [50_000]


async def test_each_row_tells_what_it_may_cost(shop: Shop) -> None:
    """Of rows whose calls may cost differently the dearest is set aside for each."""

    def price(request: Request) -> Price:
        return Price(CREDIT, CENT * len(request.params.get("prompt", "")))

    shop.one.price = price  # type: ignore[method-assign]
    shop.one.cost = lambda prompt: CENT * len(prompt)
    await shop.priced("default", margin="0")
    assert await shop.spent(recipe(), "a", "bbbb", "cc") == [CENT, 4 * CENT, 2 * CENT]
    assert await shop.total("reserve") == 12 * CENT


async def test_stages_are_charged_each_by_its_rule(shop: Shop) -> None:
    """Three stages: a model's rule, a provider's, and none; the item is charged their sum."""
    made = recipe(
        stage("first", "one:m"),
        stage("second", "two:n", prompt="{{ t }} second"),
        stage("third", "one:other", prompt="{{ t }} third"),
    )
    await shop.priced("model", "one:m", credits="0.5")
    await shop.priced("provider", "two", credits="0.25")
    assert await shop.spent(made, "a") == [1_750_000]
    # The last stage fails: what the others gave is not charged, and a retry has a new reserve.
    shop.one._script = lambda prompt, nth: (
        OutcomeKind.INVALID if prompt.endswith("third") and nth == 1 else None
    )
    batch = await shop.submit(made, "c")
    await batch.done()
    assert await shop.charged(batch) == [0]
    await batch.retry({ItemState.FAILED})
    await batch.done()
    assert await shop.charged(batch) == [1_750_000]


async def test_a_recipes_price_is_charged_once(shop: Shop) -> None:
    """However many stages an item has, it costs what the recipe does; a model's rule adds to it."""
    made = recipe(stage("first", "one:m"), stage("second", "one:n", prompt="{{ t }} again"))
    await shop.priced("recipe", "test", credits="3", cached_credits="1")
    assert await shop.spent(made, "a") == [3 * CREDIT]
    assert await shop.spent(made, "a") == [CREDIT]
    await shop.priced("model", "one:n", credits="0.1")
    assert await shop.spent(made, "b") == [3_100_000]
    assert await shop.spent(made, "b") == [CREDIT]


async def test_a_recipes_price_is_full_when_anything_is_bought(shop: Shop) -> None:
    """First stage from the cache, the second bought: the full price, once, and no more."""
    first = stage("first", "one:m")
    await shop.priced("recipe", "test", credits="3", cached_credits="1")
    assert await shop.spent(recipe(first), "a") == [3 * CREDIT]
    both = recipe(first, stage("second", "one:n", prompt="{{ t }} again"))
    assert await shop.spent(both, "a") == [3 * CREDIT]


async def test_hits_cost_what_the_book_says(shop: Shop) -> None:
    """A result that was there costs nothing, or its price for that; so for each stage of two."""
    made = recipe(stage("first", "one:m"), stage("second", "two:n", prompt="{{ t }} again"))
    await shop.priced("model", "one:m", credits="2")
    assert await shop.spent(made, "a") == [3 * CREDIT]
    assert await shop.spent(made, "a") == [0]
    await shop.priced("model", "one:m", credits="2", cached_credits="0.2")
    await shop.priced("provider", "two", margin="0", cached_credits="0.05")
    assert await shop.spent(made, "a") == [250_000]
    twins = await shop.spent(made, "b", "b")
    assert sorted(twins) == [250_000, 2_040_000]


async def test_what_made_it_is_what_is_charged(shop: Shop) -> None:
    """Of two models the dearer is set aside; the item is charged by the one that made it."""
    made = recipe(stage("make", "one:m", "two:n"))
    await shop.priced("model", "one:m", credits="1")
    await shop.priced("model", "two:n", credits="5")
    shop.one._script = lambda prompt, nth: OutcomeKind.QUOTA_EXHAUSTED if prompt == "b" else None
    assert await shop.spent(made, "a") == [CREDIT]
    assert await shop.spent(made, "b") == [5 * CREDIT]
    assert await shop.total("reserve") == 10 * CREDIT


async def test_a_batch_keeps_its_price(shop: Shop) -> None:
    """A price that changes, or ends, while a batch runs is not that batch's, nor its retry's."""
    await shop.priced("default", credits="2")
    shop.one.gate.clear()
    batch = await shop.submit(recipe(), "a", "once")
    await shop.priced("default", credits="7")
    shop.one.gate.set()
    await batch.done()
    assert await shop.charged(batch) == [2 * CREDIT, 0]
    await shop.priced("default", end=True)
    await batch.retry({ItemState.FAILED})
    await batch.done()
    assert await shop.charged(batch) == [2 * CREDIT, 2 * CREDIT]
    assert await shop.spent(recipe(), "new") == [CREDIT]


async def test_cancelled_items_are_refunded(shop: Shop) -> None:
    """What had not started costs nothing; what was under way is charged as it was priced."""
    await shop.priced("default", margin="0")
    shop.one.gate.clear()
    batch = await shop.submit(recipe(), *(f"row {n}" for n in range(40)))
    await shop.one.entered.wait()
    await batch.cancel()
    shop.one.gate.set()
    await batch.done()
    charged = await shop.charged(batch)
    summary = await batch.summary()
    assert sum(charged) == 40_000 * summary.succeeded
    assert await shop.total("reserve") == 40 * 100_000
    assert await shop.total("void") == 40 * 100_000 - sum(charged)


async def test_on_demand_is_priced_the_same(shop: Shop) -> None:
    """A result on demand costs its price, a hit its own, and one that cannot be paid nothing."""
    await shop.priced("provider", "one", credits="2", cached_credits="0.5")
    async with shop.engine.database.transaction() as connection:
        await store.set_unlimited(connection, "default", False)
        now = shop.engine.clock.now()
        await ledger.grant(connection, shop.engine.accounts, "default", 4 * CREDIT, "x", now)
    assert not (await shop.engine.generate("one:m", "a mill")).cached
    again = await shop.engine.generate("one:m", "a mill")
    assert again.cached
    assert again.body == b"made of a mill"
    with pytest.raises(InsufficientCreditsError) as caught:
        await shop.engine.generate("one:m", "a weir")
    assert caught.value.facts == {
        "needed_microcredits": 2 * CREDIT,
        "available_microcredits": 1_500_000,
        "missing_microcredits": 500_000,
    }
    assert shop.one.prompts == ["a mill"]
    async with shop.engine.database.acquire() as connection:
        assert await verify(connection) == []
    with pytest.raises(InsufficientCreditsError):
        await shop.engine.generate("one:m", "refuse")


async def test_a_quote_says_what_a_submit_sets_aside(shop: Shop) -> None:
    """Under a price book the quote's credits are the reserve, to the micro-credit."""
    given = [Row(number, {"t": word}, number) for number, word in enumerate(("a", "b", "b"), 1)]
    plain = await estimate_rows(shop.engine, given, recipe(), ["t"])
    assert plain.credits_microcredits_max == 2 * CREDIT
    await shop.priced("default", margin="0.3")
    quote = await estimate_rows(shop.engine, given, recipe(), ["t"])
    await shop.spent(recipe(), "a", "b", "b")
    assert quote.credits_microcredits_max == await shop.total("reserve") == 390_000


async def test_an_open_attempts_second_purchase_is_the_operators(shop: Shop) -> None:
    """A call bought again because its answer was never seen: overrun pays the second one."""
    shop.one._script = lambda prompt, nth: OutcomeKind.UNKNOWN if nth == 1 else None
    await shop.priced("default", margin="0")
    assert await shop.spent(recipe(), "a") == [4 * CENT]
    assert await shop.total("overrun") == 10 * CENT
