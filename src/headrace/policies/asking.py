"""What all hooks share: so many at a time, a timeout, tries with growing waits, and what then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from headrace.backoff import RetryPolicy
from headrace.clock import Clock
from headrace.policy import AwayError, Finding
from headrace.policy_table import HookTable
from headrace.telemetry import log

WAIT_BASE_S = 0.5
WAIT_MAX_S = 8.0


class NoVerdictError(Exception):
    """One try gave no verdict; ``final``: another try would give none either."""

    def __init__(self, why: str, *, final: bool = False, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.final = final
        self.wait_s = wait_s


class Asking:
    """Asks one hook, again and again where that may help."""

    def __init__(self, table: HookTable, clock: Clock, random: Random | None = None) -> None:
        self._table = table
        self._clock = clock
        self._random = random or Random()
        self._waits = RetryPolicy(table.attempts, WAIT_BASE_S, WAIT_MAX_S, WAIT_MAX_S)
        self._slots = asyncio.Semaphore(table.concurrency)

    async def verdict(self, ask: Callable[[], Awaitable[Finding | None]]) -> Finding | None:
        """Return what ``ask`` finds; raises ``AwayError`` where there is no verdict.

        A hook that lets pass on failure finds nothing then.
        """
        tries, why = 0, ""
        while True:
            tries += 1
            wait_s = None
            try:
                async with self._slots, asyncio.timeout(self._table.timeout_s):
                    return await ask()
            except NoVerdictError as error:
                why, wait_s = error.why, error.wait_s
                if error.final:
                    break
            except TimeoutError:
                why = f"no verdict within {self._table.timeout_s:g} s"
            if not self._waits.allows(tries):
                break
            await self._clock.sleep(self._waits.wait_s(tries, wait_s, self._random))
        log().warning("policy_hook_away", hook=self._table.name, why=why, passed=self._table.open)
        if self._table.open:
            return None
        raise AwayError(self._table.name, why)
