"""The live line, "Generating 37 of 200": always from the batch's own counts."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from headrace.clock import Clock
    from headrace.store.batches import Summary
    from headrace.store.reports import Wait

WINDOW_S = 10.0
PLAIN_EVERY_S = 2.0
BAR_CELLS_MAX = 72
WAITS_SHOWN = 4


class Rate:
    """Items ended per second over a sliding window; says nothing before it knows anything."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now_s: float, done: int) -> None:
        """Note how many items have ended by ``now_s`` (monotonic seconds)."""
        self._seen.append((now_s, done))
        while len(self._seen) > 2 and now_s - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()

    def per_s(self) -> float | None:
        """Return the rate, or ``None`` while the window is too short to tell."""
        if len(self._seen) < 2:
            return None
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        if last_s - first_s < 0.3 or last <= first:
            return None
        return (last - first) / (last_s - first_s)


def duration(seconds: float) -> str:
    """Return a duration for people: ``0.8 s``, ``14 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if seconds < 9.95:
        return f"{max(seconds, 0.1):.1f} s".replace(".0 s", " s")
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def cost_of(summary: Summary) -> str:
    """Return what a batch cost so far, for people: true costs and estimates apart."""
    from headrace.price import cost_words

    return cost_words(summary.cost_microusd, summary.cost_estimate_microusd, summary.cost_unknown)


def progress_line(summary: Summary, rate_per_s: float | None) -> str:
    """Return the line that tells how far a batch is."""
    from headrace.price import usd_exact
    from headrace.progress_words import line_of

    fresh = summary.succeeded - summary.cached
    parts = [
        line_of(summary),
        f"{fresh} done",
        f"{summary.cached} cached",
        f"{summary.ended_badly} failed",
    ]
    for count, word in (
        (summary.running, "running"),
        (summary.waiting, "waiting"),
        (summary.unknown, "unknown"),
        (summary.cancelled, "cancelled"),
    ):
        if count:
            parts.append(f"{count} {word}")
    if rate_per_s is not None:
        parts.append(f"{rate_per_s:.0f}/s" if rate_per_s >= 10 else f"{rate_per_s:.1f}/s")
        # What waits for its time goes on at that time, whatever the rate was.
        if summary.open > summary.waiting and summary.state == "running":
            parts.append(f"ETA {duration(max(1, round(summary.open / rate_per_s)))}")
    cost = f"cost {cost_of(summary)}"
    if summary.cost_cap_microusd is not None:
        cost += f" of ${usd_exact(summary.cost_cap_microusd)} at most"
    return " · ".join([*parts, cost])


def wait_lines(waits: Sequence[Wait], now: datetime) -> list[str]:
    """Return why items wait, how many and until when: a line for each reason, four at most."""
    return [_wait_line(wait, now) for wait in waits[:WAITS_SHOWN]]


def _wait_line(wait: Wait, now: datetime) -> str:
    left_s = (wait.due_at - now).total_seconds()
    until = "due now"
    if left_s >= 1:
        until = f"the next in {duration(left_s)}"
        if left_s >= 60:
            due, here = wait.due_at.astimezone(), now.astimezone()
            form = "%H:%M" if due.date() == here.date() else "%Y-%m-%d %H:%M"
            until += f", at {due:{form}}"
    reason = f" ({wait.reason})" if wait.reason else ""
    remedy = f" → {wait.remedy}" if wait.remedy else ""
    return f"{wait.items} waiting: {wait.code.replace('_', ' ')}{reason} · {until}{remedy}"


class Progress:
    """Shows the line: redrawn in place on a terminal, now and then in a log, never when quiet."""

    def __init__(self, quiet: bool, clock: Clock) -> None:
        self._quiet = quiet
        self._clock = clock
        self._rate = Rate()
        self._live: Any = None
        self._told_s = 0.0
        self._told: tuple[object, ...] = ()

    def __enter__(self) -> Progress:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *why: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def show(self, summary: Summary, waits: Sequence[Wait] = ()) -> None:
        """Show the batch's state now, and why some of its items wait."""
        now_s = self._clock.monotonic_s()
        self._rate.add(now_s, summary.done)
        text = progress_line(summary, self._rate.per_s())
        waiting = wait_lines(waits, self._clock.now()) if summary.waiting else []
        if self._live is not None:
            self._live.update(_drawing(summary, text, waiting))
            return
        # The time left is another one each time; a line is news when its reason is.
        news = (text, *((wait.items, wait.code, wait.reason) for wait in waits))
        if not self._quiet and now_s - self._told_s >= PLAIN_EVERY_S and news != self._told:
            self._told_s, self._told = now_s, news
            print("\n  ".join([text, *waiting]), file=sys.stderr, flush=True)


def bar(done: int, total: int, cells: int) -> tuple[str, str]:
    """Return the full and the empty part of a bar that is ``cells`` wide."""
    halves = 2 * cells * min(done, total) // max(1, total)
    full = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return full, "━" * (cells - len(full))


def folded(text: str, width: int) -> str:
    """Return the line in lines no wider than ``width``, broken between its parts only."""
    lines = [""]
    for part in text.split(" · "):
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(f"  {part}")
    return "\n".join(lines)


def _drawing(summary: Summary, text: str, waiting: list[str]) -> Any:
    from rich.console import Console, Group
    from rich.text import Text

    width = Console(stderr=True).width - 1
    cells = min(BAR_CELLS_MAX, width)
    full, empty = bar(summary.done, summary.item_count, cells)
    lines = [Text(folded(text, width)), Text.assemble((full, "green"), (empty, "bright_black"))]
    lines += [Text(wait, style="yellow") for wait in waiting]
    return Group(*lines)
