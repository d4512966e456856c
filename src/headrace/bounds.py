"""One rate of a lane (requests, tokens or images a second): what is known of it, and its pace.

A limit empties; the moment of a refusal is a moment at which it was empty. Between two
such moments, what was accepted divided by the time is the limit's rate, whatever the
way it counts: that gives an upper and a lower bound. Trials between the bounds narrow
them until they meet; from then on the lane holds just below, and a trial above must be
paid for from the lane's credit of refusals.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from headrace.bucket import Bucket
from headrace.fitting import Moment, burst, fit
from headrace.limits import DAY_S

STEP_S = 0.5
"""The pace is doubled at most so often while nothing is known."""
NARROW = 1.03
"""Bounds nearer than this have met."""
LATE_S, LATE_S_MIN = 0.02, 0.002
"""So much lateness of our own is made up for, until a limit shows that it does not bear it."""
PAUSE_S_MIN, PAUSE_S_MAX = 0.05, 60.0
WAIT_S_MAX = 40 * DAY_S
STRIKES_MAX = 3
MARGIN_MAX = 0.024
TRIED = 0.8
SAFE_CALLS = 150
LATE_CALLS, CLUSTER_CALLS, RECOVER_CALLS = 60, 8, 8
NOISY, NOISE_MAX, CALM_CALLS = 3, 5, 400
BACK, BACK_MAX, DRIFT_CALLS = 0.02, 0.16, 200.0
"""A refusal lowers the pace of a shared lane by this part; as many calls raise it again."""
EMPTIES_MAX, MOMENTS_MAX = 8, 48
VERIFY_MAX = 5
ECHOES_MAX, ECHO_S = 6, 0.1


class Mode(StrEnum):
    """What a pace is at: nothing held back, growing, between bounds, holding, looking up."""

    OPEN = "open"
    GROW = "grow"
    TRIAL = "trial"
    HOLD = "hold"
    PROBE = "probe"


@dataclass(slots=True)
class RatePace:
    """The pace of one rate; all amounts are units of its dimension, times are seconds."""

    bucket: Bucket
    mode: Mode = Mode.OPEN
    told: float | None = None
    told_amount: float = math.inf
    told_before: float | None = None
    pinned: bool = False
    cap: Bucket | None = None
    margin: float = 0.003
    late_s: float = LATE_S
    lo: float = 0.0
    hi: float = math.inf
    proven: float | None = None
    sent: float = 0.0
    latest_s: float = -math.inf
    mean: float = 1.0
    first_s: float | None = None
    first_sent: float = 0.0
    empties: deque[Moment] = field(default_factory=lambda: deque(maxlen=EMPTIES_MAX))
    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=MOMENTS_MAX))
    refused_units: float = 0.0
    idle_s: float = 0.0
    reacted_s: float = -math.inf
    reacted_sent: float = 0.0
    reacted_refused: float = 0.0
    streak: int = 0
    strikes: int = 0
    phase_s: float = 0.0
    phase_sent: float = 0.0
    phase_calls: int = 0
    phase_bound: int = 0
    due_s: float | None = None
    climb: float = 0.05
    climb_from: Moment | None = None
    virtual: Bucket = field(default_factory=lambda: Bucket(0.0, 4.0, 4.0, 0.0))
    paused_until_s: float = -math.inf
    windowed: bool = False
    window_s: float = 0.0
    noise: int = 0
    safe: float = 0.0
    back: float = 0.02
    react_s: float = 1.0
    allowance: float = 0.0
    was: float = math.inf
    echo_until_s: float = -math.inf
    echoes: int = 0
    probe_after_s: float = -math.inf
    episode_s: float | None = None
    recovered_s: float | None = None
    verified: int = 0
    held_at: float = 0.0

    # -- sending ---------------------------------------------------------------------------

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return the seconds until a call of ``cost`` may be sent; 0.0 for now."""
        held_s = self.paused_until_s - now_s
        if self.episode_s is not None and self.recovered_s is not None:
            # After a refusal one call goes ahead, and the others see what becomes of it.
            seen_s = self.recovered_s + self.react_s - now_s
            if seen_s > 0:
                return max(held_s, seen_s, self.bucket.wait_s(cost, now_s))
            self._recovered(cost, now_s)
        if self.mode is Mode.OPEN:
            return max(0.0, held_s)
        if self.cap is not None and (self.pinned or self.mode is Mode.GROW):
            cap_s = self.cap.wait_s(cost, now_s)
            if cap_s > 0 and self.mode is Mode.GROW:
                self._spent(now_s)
            held_s = max(held_s, cap_s)
        return max(0.0, held_s, self.bucket.wait_s(cost, now_s))

    def take(self, cost: float, now_s: float, bound: bool) -> tuple[float, float]:
        """Count a call that is sent; ``bound``: this rate had held it back.

        Returns its mark, and how long ago the call before was sent.
        """
        gap_s, self.latest_s = now_s - self.latest_s, now_s
        if self.first_s is None:
            self.first_s, self.first_sent = now_s, self.sent
            self.phase_s = now_s
        if self.episode_s is not None and self.recovered_s is None:
            self.recovered_s = now_s
        self.mean += 0.05 * (cost - self.mean)
        self.sent += cost
        self.phase_sent += cost
        self.phase_calls += 1
        self.phase_bound += bound
        if self.mode is not Mode.OPEN:
            self.bucket.take(cost, now_s)
            self.virtual.take(cost, now_s)
        if self.cap is not None:
            self.cap.take(cost, now_s)
        return self.sent, gap_s

    def tell(self, amount: float, window_s: float, now_s: float, pinned: bool) -> None:
        """Take a limit that was told: what it holds may go out in a rush, then its rate."""
        self.told, self.told_amount, self.pinned = amount / window_s, amount, pinned
        self.cap = Bucket(self.told, amount, amount, now_s)

    def left(self, remaining: float, now_s: float) -> None:
        """Hear how much the provider says is left of a told limit: never more than that."""
        if self.cap is not None:
            self.cap.spill(now_s, max(0.0, remaining))

    def _spent(self, now_s: float) -> None:
        """Go on at the told rate: what was told to be there is used up, without a refusal."""
        assert self.told is not None  # only a told limit has a cap
        self.proven = 0.8 * self.told_amount
        self.set_pace(self.told * (1.0 - self.margin), Mode.HOLD, now_s)
        self.bucket.spill(now_s)

    @property
    def pace(self) -> float:
        """Return the pace that holds now, in units a second; ``inf`` when nothing holds back."""
        return math.inf if self.mode is Mode.OPEN else self.bucket.rate

    def set_pace(self, pace: float, mode: Mode, now_s: float, at_send: bool = False) -> None:
        """Begin a phase at ``pace``; ``at_send``: a call was sent just now."""
        if self.pinned and self.told is not None and mode is not Mode.GROW:
            pace = min(pace, self.told)
        self.mode = mode
        self.bucket.refill(now_s)
        self.bucket.rate = pace
        self.bucket.burst = self._burst(mode, pace)
        self.bucket.level = min(self.bucket.level, self.bucket.burst)
        self.phase_s, self.phase_sent = now_s, 0.0
        self.phase_calls = self.phase_bound = 0
        self.due_s = None
        gap_s = 0.0 if at_send else None
        here = Moment(now_s, self.sent, self.refused_units, self.idle_s, gap_s=gap_s)
        self.moments.append(here)

    def _burst(self, mode: Mode, pace: float) -> float:
        least = self.mean + pace * self.late_s
        if mode is Mode.HOLD and self.proven is not None:
            return max(least, self.proven)
        return least

    # -- what accepted calls show ------------------------------------------------------------

    def look(self, now_s: float) -> bool:
        """Move on where a phase has shown enough; tells whether a probe was begun."""
        if self.mode is Mode.OPEN or self.paused_until_s > now_s:
            return False
        if self.episode_s is not None:
            return False
        if self.mode is Mode.HOLD and self.phase_calls >= SAFE_CALLS and not self.is_noisy:
            self.safe = max(self.safe, self.bucket.rate)
        if self.mode is Mode.HOLD and self.phase_calls % CALM_CALLS == 0:
            self.noise = max(0, self.noise - 1)
        if self.mode is Mode.HOLD and self.is_noisy:
            if self.phase_bound * 4 >= self.phase_calls:
                self._drift()
            return False
        if self.mode is Mode.HOLD:
            return self._look_up(now_s)
        if self.due_s is None:
            if self._shown(now_s):
                self.due_s = now_s + self.react_s
            return False
        if now_s >= self.due_s:
            self._passed(now_s)
        return False

    def _shown(self, now_s: float) -> bool:
        if self.phase_sent < TRIED * self.bucket.rate * (now_s - self.phase_s) - self.mean:
            # Something else held the calls back, so that this pace was never tried.
            if self.phase_calls > 50:
                self.set_pace(self.bucket.rate, self.mode, now_s, at_send=True)
            return False
        if now_s - self.phase_s < self.window_s and self.mode is not Mode.GROW:
            return False
        if self.mode is Mode.GROW:
            return self.phase_calls >= 3 and now_s - self.phase_s >= STEP_S
        if self.mode is Mode.TRIAL:
            width = 1.0 if self.lo <= 0 or math.isinf(self.hi) else self.hi / self.lo - 1.0
            return self.phase_calls >= min(60.0, max(4.0, 2.0 / width))
        if math.isinf(self.hi):
            return self.phase_calls >= 8 and now_s - self.phase_s >= 0.3
        self.virtual.refill(now_s)
        return self.virtual.level < -2.0 * self.mean

    def _passed(self, now_s: float) -> None:
        if self.mode is Mode.GROW:
            self.set_pace(self.bucket.rate * 2.0, Mode.GROW, now_s, at_send=True)
        elif self.mode is Mode.TRIAL:
            self.lo = max(self.lo, self.bucket.rate * 0.995)
            self._between(now_s, at_send=True)
        else:
            if math.isfinite(self.hi):
                # The steps that follow are too short to show more than that.
                self.lo, self.was, self.hi = max(self.lo, 0.98 * self.hi), self.hi, math.inf
                if self.told_before is not None and self.told_before > self.bucket.rate:
                    # It fell below what was told, and is back.
                    self.told, self.told_before = self.told_before, None
                    self._hold_told(now_s, shrink=False)
                    return
            self.climb = min(0.5, self.climb * 2.0)
            self.set_pace(self.bucket.rate * (1.0 + self.climb), Mode.PROBE, now_s, at_send=True)

    def _look_up(self, now_s: float) -> bool:
        if self.told is not None or now_s < self.probe_after_s:
            return False
        if self.phase_calls < 30 or self.phase_bound * 4 < self.phase_calls:
            return False
        early = self.told is None and self.verified < VERIFY_MAX
        if early and self.phase_calls >= 30 * 2**self.verified:
            # Bounds found in passing may be those of a moment: look up early, ever later.
            self.verified += 1
        elif self.allowance < 1.0:
            return False
        base = self.hi if self.told is None or not math.isinf(self.hi) else self.told
        self.climb = 0.05
        if math.isinf(base):
            base = self.bucket.rate
        self.virtual.rate = self.hi = self.was = base
        self.climb_from = Moment(now_s, self.sent, self.refused_units, self.idle_s)
        self.set_pace(base * (1.0 + self.climb), Mode.PROBE, now_s, at_send=True)
        return True

    # -- what refusals show ------------------------------------------------------------------

    def refused(
        self,
        cost: float,
        taken: tuple[float, float],
        sent_s: float,
        now_s: float,
        wait_s: float | None,
    ) -> bool:
        """Hear that a call was refused by this rate; tells whether it was news.

        ``taken`` is what ``take`` gave for it. Only the first refusal of an episode teaches:
        others were sent before anybody could know.
        """
        mark, gap_s = taken
        if self.empties and mark <= self.empties[-1].sent:
            return False
        self.refused_units += cost
        if sent_s < self.reacted_s:
            if mark > self.reacted_sent:
                self.reacted_refused += cost
            self._pause(now_s, wait_s, cost)
            return False
        served = mark - cost - self.reacted_sent - self.reacted_refused
        # Refusals are quick: what was sent before this call, and is not back, was accepted.
        self.streak = 1 if served > 0 else self.streak + 1
        echo = self.windowed and now_s < self.echo_until_s and self.echoes < ECHOES_MAX
        if self.streak == 1 and self.mode is Mode.HOLD and not echo:
            # Refused at a pace that was known to be borne.
            if self.pace <= self.safe * 1.01:
                self.safe = 0.0
        self.reacted_s, self.reacted_sent, self.reacted_refused = now_s, self.sent, 0.0
        if self.streak > 1:
            # Nothing was accepted since: still the same emptiness, and nothing learned.
            self.recovered_s = None
            self._pause(now_s, wait_s, cost)
            return True
        if echo:
            # Where a window slides, what was sent in a rush comes free in the same rush.
            self.echoes += 1
            self._pause(now_s, max(wait_s or 0.0, ECHO_S * 2.0**self.echoes), cost)
            return True
        if self.is_noisy and self.phase_calls < CLUSTER_CALLS and self.streak < 3:
            # Whoever else there is comes in clusters: let the limit recover.
            self._pause(now_s, wait_s, RECOVER_CALLS * cost)
            return True
        told_s = None if wait_s is None else now_s + wait_s
        here = Moment(sent_s, mark, self.refused_units, self.idle_s, True, gap_s, told_s)
        windowed = self._is_windowed(cost, wait_s)
        if windowed and self.told is not None and wait_s is not None:
            self.window_s = self.told_amount / self.told
            self.echo_until_s, self.echoes = now_s + wait_s + self.window_s, 0
        if windowed and self.told is None:
            self._bound_window(cost, here)
        else:
            self._bound(cost, here)
        self.empties.append(here)
        self.moments.append(here)
        if self.proven is not None and self.mode is Mode.HOLD:
            self.proven = max(self.mean, self.proven / 2.0)
        self.late_s = LATE_S_MIN if self.pace > 50.0 else 0.0
        self.episode_s, self.recovered_s = now_s, None
        if self.safe > self.lo and self.told is None:
            self.lo = self.safe
            self.hi = max(self.hi, min(self.pace, self.lo * 1.1))
        self._react(now_s)
        self._pause(now_s, wait_s, RECOVER_CALLS * cost if self.is_noisy else cost)
        self.virtual = Bucket(self.hi if math.isfinite(self.hi) else 0.0, 4 * self.mean, 0.0, now_s)
        return True

    def _is_windowed(self, cost: float, wait_s: float | None) -> bool:
        """Tell whether the limit counts by windows: it stays shut much longer than one slot."""
        slots_s = 10.0 * cost / self.pace
        if wait_s is not None and slots_s > 0 and wait_s > max(_shut_s(wait_s), slots_s):
            self.windowed = True
        return self.windowed

    def _bound_window(self, cost: float, here: Moment) -> None:
        """Set the bounds of a limit that counts by windows: from opening to opening."""
        past = self.empties[-1] if self.empties else None
        if self.mode is Mode.PROBE:
            self.hi = self.pace
            self.lo = min(self.lo, 0.95 * self.hi)
            return
        if past is None:
            assert self.first_s is not None  # nothing is refused that was not sent
            accepted, from_s = here.sent - cost - self.first_sent, self.first_s
        else:
            accepted = here.since(past)[0]
            both = past.told_s is not None and here.told_s is not None
            from_s = past.told_s if both and past.told_s is not None else past.at_s
        until_s = here.at_s
        if here.told_s is not None and (past is None or past.told_s is not None):
            until_s = here.told_s
        took_s = max(1e-3, until_s - from_s)
        self.proven = self.mean
        self.echo_until_s, self.echoes = until_s + took_s, 0
        self.window_s = took_s if past is None else min(took_s, self.window_s or took_s)
        self._around(max(accepted, 0.5 * cost), took_s)

    def _around(self, accepted: float, took_s: float) -> None:
        off = 0.01 * accepted + 0.5 * self.mean
        self.lo = max(0.0, accepted - off) / took_s
        self.hi = (accepted + off) / took_s

    def _recovered(self, cost: float, now_s: float) -> None:
        """Hear that calls are accepted again after a pause that had to be found out."""
        assert self.episode_s is not None
        assert self.recovered_s is not None
        away_s = self.recovered_s - self.episode_s
        peace = 20.0 if self.verified < VERIFY_MAX else 100.0
        self.probe_after_s = now_s + peace * away_s
        told_s = self.empties[-1].told_s if self.empties else None
        least_s = _shut_s(None if told_s is None else told_s - self.episode_s)
        windowed = away_s > max(least_s, 10.0 * cost / max(self.pace, 1e-9))
        self.episode_s = None
        # What came in while the lane was paused is not there: the limit was empty.
        self.bucket.spill(now_s)
        if not windowed or self.told is not None or self.windowed:
            self.set_pace(self.bucket.rate, self.mode, now_s)
            return
        self.windowed = True
        first_s = self.first_s if self.first_s is not None else now_s
        from_s = first_s if len(self.empties) < 2 else self.empties[-2].at_s
        since = self.first_sent if len(self.empties) < 2 else self.empties[-2].sent
        accepted = max(cost, self.empties[-1].sent - since if self.empties else cost)
        took_s = max(1e-3, self.recovered_s - from_s)
        # The pause was found by doubling, and who knows how full the windows before were.
        self.lo, self.hi = 0.8 * accepted / took_s, 2.0 * accepted / took_s
        self.proven = self.mean
        self.window_s = 1.5 * away_s
        self.echo_until_s, self.echoes = now_s + took_s, 0
        self._between(now_s)

    def _bound(self, cost: float, here: Moment) -> None:
        """Set the bounds: the rates that fit all that is remembered, or the latest part of it."""
        if self.first_s is not None and math.isinf(self.pace):
            # Nothing was held back: what was accepted so far is the best guess.
            took_s = max(1e-3, here.at_s - self.first_s)
            self.lo, self.hi = 0.0, (here.sent - self.first_sent) / took_s
            return
        fitting = fit([*self.moments, here], self.pace, cost)
        if fitting is None and len(self.empties) >= 2:
            # No limit alone explains it: somebody else was served.
            self.noise = min(NOISE_MAX, self.noise + 1)
        elif fitting is not None and self.noise:
            self.noise -= 1
        while fitting is None and self._forget_some():
            fitting = fit([*self.moments, here], self.pace, cost)
        if fitting is None:
            self._bound_latest(cost, here)
            return
        low, self.hi = fitting
        self.lo = max(low, self.lo) if self.lo < self.hi else low
        borne = burst(self.moments, self.lo)
        self.proven = max(self.mean, min(0.8 * borne, 2.0 * (self.proven or borne)))

    def _forget_some(self) -> bool:
        """Drop the older part of what is remembered: the limit was another one then."""
        start = self.climb_from
        if start is not None and self.moments and self.moments[0].at_s < start.at_s:
            while self.moments and self.moments[0].at_s < start.at_s:
                self.moments.popleft()
            self.moments.appendleft(start)
            return True
        if sum(moment.empty for moment in self.moments) < 3:
            return False
        while not self.moments[0].empty:
            self.moments.popleft()
        self.moments.popleft()
        return True

    def _bound_latest(self, cost: float, here: Moment) -> None:
        """Set the bounds from the latest refusals alone: what was accepted between them."""
        low, high = 0.0, self.pace
        for past in reversed(self.empties):
            accepted, running_s = here.since(past)
            took_s = here.at_s - past.at_s
            if accepted <= 0 or took_s <= 0:
                continue
            least, most = (accepted - cost) / took_s, (accepted + cost) / max(1e-3, running_s)
            if least >= high or most <= low:
                break  # the limit was another one then
            low, high = max(low, least), min(high, most)
        self.lo = self.lo if low < self.lo < high else low
        self.hi = high

    def _react(self, now_s: float) -> None:
        if self.told is not None:
            few = self.phase_calls < 25 and self.mode is Mode.HOLD and self.margin >= MARGIN_MAX
            self.strikes = self.strikes + 1 if few else 0
            if self.strikes < STRIKES_MAX and self.noise < NOISE_MAX:
                self._hold_told(now_s, shrink=self.mode is not Mode.GROW)
                return
            self.told_before = self.told
            self.told = None if not self.pinned else self.told
            self.strikes = 0
        if self.is_noisy:
            self._step_back(now_s)
        else:
            self._between(now_s)

    @property
    def is_noisy(self) -> bool:
        """Whether others use the limit too, so that no one rate explains what happens."""
        return self.noise >= NOISY and not self.windowed

    def _step_back(self, now_s: float) -> None:
        """Lower the pace a little, or more when refusals come fast: others take their share."""
        self.back = min(BACK_MAX, self.back * 2.0) if self.phase_calls < 20 else BACK
        pace, back = self.bucket.rate, min(self.bucket.rate, self.hi) * (1.0 - self.back)
        # What was accepted of late, refusals and pauses included, was there to be had.
        had = self._had_of_late()
        pace = max(back, min(pace, 0.95 * had))
        if pace < 0.85 * self.held_at:
            self.verified = 0
        self.held_at = pace
        self.set_pace(pace, Mode.HOLD, now_s)
        self.bucket.spill(now_s)

    def _had_of_late(self) -> float:
        here = self.empties[-1]
        for past in reversed(self.empties):
            accepted = here.since(past)[0]
            if accepted >= LATE_CALLS * self.mean:
                return accepted / max(1e-3, here.at_s - past.at_s)
        return 0.0

    def _drift(self) -> None:
        """Raise the pace with every call that is sent, so that refusals keep to their share."""
        calm = max(1.0, self.phase_calls / DRIFT_CALLS)
        self.bucket.rate *= 1.0 + BACK * min(8.0, calm) / DRIFT_CALLS
        self.hi = max(self.hi, self.bucket.rate)

    def _hold_told(self, now_s: float, shrink: bool) -> None:
        assert self.told is not None  # the caller looked
        if shrink:
            self.margin = min(MARGIN_MAX, self.margin * 1.6)
        self.proven = self.mean
        self.hi = math.inf
        self.set_pace(self.told * (1.0 - self.margin), Mode.HOLD, now_s)
        self.bucket.spill(now_s)

    def _between(self, now_s: float, at_send: bool = False) -> None:
        """Choose the next pace from the bounds: a trial between them, or hold."""
        if math.isinf(self.hi):
            self.set_pace(self.bucket.rate * 2.0, Mode.GROW, now_s, at_send)
        elif self.allowance < 0 and self.lo > 0:
            # Too much was refused of late: stay at what is known to be safe.
            self.set_pace(max(self.lo, 0.7 * self.hi) * 0.99, Mode.HOLD, now_s, at_send)
        elif self.lo > 0 and self.hi / self.lo < NARROW:
            hold = min(self.lo + 0.35 * (self.hi - self.lo), self.hi * 0.993)
            if not 0.85 * self.held_at < hold < 1.15 * self.held_at:
                self.verified = 0
            self.held_at = hold
            self.set_pace(hold, Mode.HOLD, now_s, at_send)
        else:
            middle = math.sqrt(max(self.lo, self.hi / 16.0) * self.hi)
            self.set_pace(middle, Mode.TRIAL, now_s, at_send)
        self.bucket.spill(now_s)

    def _pause(self, now_s: float, wait_s: float | None, cost: float) -> None:
        slot_s = max(PAUSE_S_MIN, cost / self.bucket.rate if self.bucket.rate > 0 else 1.0)
        guess_s = min(PAUSE_S_MAX, slot_s * 2.0 ** min(20, max(0, self.streak - 1)))
        pause_s = guess_s if wait_s is None else min(wait_s, WAIT_S_MAX)
        if self.is_noisy:
            pause_s = max(pause_s, slot_s)
        if wait_s is not None and self.streak > 1:
            # The wait was kept, and still nothing: do not believe it alone.
            pause_s = max(pause_s, min(PAUSE_S_MAX, PAUSE_S_MIN * 2.0 ** min(20, self.streak)))
        until_s = max(self.paused_until_s, now_s + pause_s)
        self.idle_s += until_s - max(now_s, self.paused_until_s)
        self.paused_until_s = until_s

    def forget(self, pace: float, now_s: float) -> None:
        """Take back what refusals taught: they were not of this rate."""
        self.lo, self.hi, self.streak = 0.0, math.inf, 0
        self.empties.clear()
        self.proven, self.paused_until_s = None, -math.inf
        self.moments.clear()
        self.set_pace(pace, Mode.GROW if math.isfinite(pace) else Mode.OPEN, now_s)
        self.first_s = None


def _shut_s(wait_s: float | None) -> float:
    """Return what is longer than a bucket takes for one call: whole seconds were rounded up."""
    return 1.0 if wait_s is None or abs(wait_s - round(wait_s)) > 1e-6 else 1.5
