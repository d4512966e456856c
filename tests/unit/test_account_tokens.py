"""Access tokens: one fetch for many callers, before the old one ends, and off the loop."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.providers.google.account_tokens import FRESH_S, PAUSE_S, AccountTokens, Minted
from headrace.testing import ManualClock


class Mint:
    """A token server: hands out t1, t2, …, each good for an hour, or fails as told."""

    def __init__(self, clock: ManualClock, life_s: float = 3600) -> None:
        self.clock = clock
        self.life_s = life_s
        self.made = 0
        self.fails: CallFailed | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.threads: set[int] = set()

    def __call__(self) -> Minted:
        self.gate.wait(10)
        self.threads.add(threading.get_ident())
        if self.fails is not None:
            raise self.fails
        self.made += 1
        return Minted(f"t{self.made}", self.clock.now() + timedelta(seconds=self.life_s))


def made() -> tuple[AccountTokens, Mint, ManualClock]:
    clock = ManualClock()
    mint = Mint(clock)
    return AccountTokens(mint, clock), mint, clock


async def test_many_callers_share_one_fetch() -> None:
    """Fifty calls at once fetch one token, in a thread that is not the loop's."""
    tokens, mint, _ = made()
    mint.gate.clear()
    waiting = [asyncio.create_task(tokens.get(30)) for _ in range(50)]
    await asyncio.sleep(0)
    mint.gate.set()
    assert {minted.token for minted in await asyncio.gather(*waiting)} == {"t1"}
    assert mint.made == 1
    assert threading.get_ident() not in mint.threads


async def settled(tokens: AccountTokens) -> None:
    while tokens._minting is not None:
        await asyncio.wait([tokens._minting])
        await asyncio.sleep(0)


async def test_a_token_is_replaced_before_it_ends_and_nobody_waits() -> None:
    """Near its end the old one is given while the next is fetched; after its end callers wait."""
    tokens, mint, clock = made()
    await tokens.get(30)
    await clock.advance(3600 - FRESH_S - 1)
    assert (await tokens.get(30)).token == "t1"
    assert mint.made == 1
    await clock.advance(2)
    assert (await tokens.get(30)).token == "t1"
    await settled(tokens)
    assert (await tokens.get(30)).token == "t2"
    await clock.advance(7200)
    assert (await tokens.get(30)).token == "t3"
    assert tokens.seen == ("t2", "t3")


async def test_a_server_that_is_down_stops_nobody_whose_token_works() -> None:
    """Failures in the background are tried again after a pause, and seen only at the end."""
    tokens, mint, clock = made()
    await tokens.get(30)
    mint.fails = failed(OutcomeKind.TRANSIENT, "down")
    await clock.advance(3600 - FRESH_S + 1)
    assert (await tokens.get(30)).token == "t1"
    await settled(tokens)
    await tokens.get(30)
    assert tokens._minting is None
    await clock.advance(PAUSE_S)
    await tokens.get(30)
    assert tokens._minting is not None
    await settled(tokens)
    await clock.advance(300)
    with pytest.raises(CallFailed, match="down"):
        await tokens.get(30)
    mint.fails = None
    assert (await tokens.get(30)).token == "t2"


async def test_one_caller_that_leaves_does_not_stop_the_others() -> None:
    """A cancelled call, and one whose time is up, leave the fetch to those that still wait."""
    tokens, mint, _ = made()
    mint.gate.clear()
    leaves = asyncio.create_task(tokens.get(30))
    stays = asyncio.create_task(tokens.get(30))
    await asyncio.sleep(0)
    leaves.cancel()
    with pytest.raises(CallFailed) as caught:
        await tokens.get(0)
    assert caught.value.outcome.kind is OutcomeKind.TIMEOUT
    mint.gate.set()
    assert (await stays).token == "t1"
    assert leaves.cancelled()
    assert mint.made == 1


async def test_a_rejected_token_is_forgotten() -> None:
    """Only the one that was rejected: another caller may have fetched the next already."""
    tokens, mint, _ = made()
    tokens.reject((await tokens.get(30)).token)
    assert (await tokens.get(30)).token == "t2"
    tokens.reject("t1")
    assert (await tokens.get(30)).token == "t2"
    assert mint.made == 2
    await tokens.close()
    await tokens.close()


def test_a_token_is_not_shown() -> None:
    """It stands in no message that shows the value."""
    assert "secret" not in repr(Minted("secret"))
