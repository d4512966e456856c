"""One rate of a lane: when its next call may go, and what its refusals mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headrace.bucket import Bucket
from headrace.episodes import BRUSHED_MAX, Episodes
from headrace.fitting import Moment, is_exact
from headrace.phases import Mode
from headrace.telling import LATE_S_MIN

ECHOES_MAX, ECHO_S = 6, 0.1
CLUSTER_CALLS = 8
MET = 1.05
"""Bounds as near as that stand when a look above them was refused at once."""
ON_REST = 4.0
"""Growth goes on after a pause of so many calls, where nobody tells a wait."""
RETURN_CALLS = 3.0
"""Calls end in clusters: what comes back may exceed the burst by so many calls, until refused."""


@dataclass(slots=True)
class RatePace(Episodes):
    """The pace of one rate; all amounts are units of its dimension, times are seconds."""

    latest_s: float = -math.inf
    reacted_sent: float = 0.0
    reacted_refused: float = 0.0
    room_calls: float = RETURN_CALLS

    def wait_s(self, cost: float, now_s: float) -> float:
        """Return the seconds until a call of ``cost`` may be sent; 0.0 for now."""
        held_s = self.paused_until_s - now_s
        if self.longer:
            held_s = max(held_s, self.spent_s(cost, now_s))
        if self.episode_s is not None and self.recovered_s is not None:
            # After a refusal one call goes ahead, and the others see what becomes of it.
            seen_s = self.recovered_s + self.react_s - now_s
            if seen_s > 0:
                return max(held_s, seen_s, self._paced_s(cost, now_s))
            self._recovered(cost, now_s)
        if self.mode is Mode.OPEN:
            return max(0.0, held_s)
        growing = self.mode is Mode.GROW and self.told is not None
        if self.cap is not None and (self.pinned or growing):
            cap_s = self.cap.wait_s(cost, now_s)
            if cap_s > 0 and growing:
                self._spent(now_s)
            held_s = max(held_s, cap_s)
        return max(0.0, held_s, self._paced_s(cost, now_s))

    def _paced_s(self, cost: float, now_s: float) -> float:
        framed_s = self.framed_s(cost, now_s, self.latest_s, self.bucket.rate)
        return max(framed_s, self.bucket.wait_s(cost, now_s))

    def take(self, cost: float, now_s: float, bound: bool) -> tuple[float, float]:
        """Count a call that is sent; ``bound``: this rate had held it back.

        Returns its mark, and how long ago the call before was sent.
        """
        gap_s, self.latest_s = now_s - self.latest_s, now_s
        if self.first_s is None:
            self.first_s, self.first_sent = now_s, self.sent
            self.phase_s, self.mean = now_s, cost
            if not self.moments:
                # Also where nothing held it back: what fits is asked from the first call on.
                self.moments.append(Moment(now_s, self.sent, self.refused_units, self.idle_s))
        if self.episode_s is not None and self.recovered_s is None:
            self.recovered_s = now_s
        self.varies = self.varies or cost != self.mean
        self.mean += 0.05 * (cost - self.mean)
        self.sent += cost
        self.frame_take(cost, now_s, self.bucket.rate)
        self.phase_sent += cost
        self.phase_calls += 1
        self.phase_bound += bound
        if self.mode is not Mode.OPEN:
            self.bucket.take(cost, now_s)
            self.virtual.take(cost, now_s)
        if self.cap is not None:
            self.cap.take(cost, now_s)
        for quota in self.longer:
            quota.take(cost, now_s)
        return self.sent, gap_s

    def give_back(self, cost: float, unused: float, taken_s: float, now_s: float) -> None:
        """Put back what a call of ``cost`` took at ``taken_s`` and did not use.

        A rate that was learned is one of what calls take, not of what they use: it stays.
        """
        for quota in self.longer:
            quota.give(unused, taken_s)
        if self.told is None:
            return
        self.returned += unused
        self.frame = None  # counts what calls take
        self.bucket.give(unused, now_s, cost, self.room_calls * cost)
        if self.cap is not None:
            self.cap.give(unused, now_s)

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
        self._take_out(cost, mark, sent_s)
        if self._is_old_news(cost, mark, sent_s):
            self._pause(now_s, wait_s, cost)
            return False
        served = mark - cost - self.reacted_sent - self.reacted_refused
        # Refusals are quick: what was sent before this call, and is not back, was accepted.
        self._follow(served > 0, now_s)
        echo = self.windowed and now_s < self.echo_until_s and self.echoes < ECHOES_MAX
        held = self.streak == 1 and self.mode is Mode.HOLD and not echo
        if held and self.pace <= self.safe * 1.01:
            # Refused at a pace that was known to be borne.
            self.safe = 0.0
        self.reacted_s, self.reacted_sent, self.reacted_refused = now_s, self.sent, 0.0
        if self.streak < BRUSHED_MAX and self._is_not_ours(cost, wait_s, now_s):
            self._pause(now_s, wait_s, cost)
            return True
        if self.streak > 1:
            # Nothing was accepted since: still the same emptiness, and nothing learned.
            self.recovered_s = None
            self.stop_growing(now_s)
            self._pause(now_s, wait_s, cost)
            return True
        here = Moment(sent_s, mark, self.refused_units, self.idle_s, True, gap_s)
        self._count(here, cost, now_s, wait_s)
        if echo:
            self._echoed(cost, here, now_s, wait_s)
            return True
        if self._clustered(cost, now_s, wait_s):
            return True
        self.eased_too_far()
        if self.mode is Mode.HOLD and self.hurried(cost, here, wait_s):
            self._go(self.pace, Mode.HOLD, now_s)
            self._pause(now_s, wait_s, cost)
        else:
            self._learn(cost, here, now_s, wait_s)
        return True

    def _follow(self, served: bool, now_s: float) -> None:
        """Count a refusal: as one more of its streak, or, ``served`` in between, as the first."""
        self.streak = 1 if served else self.streak + 1
        if self.crossed:
            # Its pace goes to where calls are refused: they are no crowd.
            self.crowd.heard.clear()
        elif served:
            self.crowd.refused(self._accepted(), now_s)

    def _clustered(self, cost: float, now_s: float, wait_s: float | None) -> bool:
        """Hear of a refusal; tells whether whoever else there is came in a cluster."""
        if not self.is_noisy or self.phase_calls >= CLUSTER_CALLS or self.streak >= BRUSHED_MAX:
            return False
        self.leap_back(now_s, wait_s)
        self._pause(now_s, wait_s, self._rest() * cost)
        return True

    def _rest(self) -> float:
        """Return how many calls' worth comes in after a refusal before the next call."""
        # Where others are about the limit may recover, but a leap is to show what it bears.
        return self.share.rest if self.is_noisy and not self.leap_from else 1.0

    def _take_out(self, cost: float, mark: float, sent_s: float) -> None:
        """Take a call back out of all that counts what was let in: it was refused."""
        self.frame_refused(cost, sent_s)
        self.correct(cost, mark, sent_s)
        for quota in self.longer:
            quota.give(cost, sent_s)

    def _count(self, here: Moment, cost: float, now_s: float, wait_s: float | None) -> None:
        """Note what had been taken by a moment of emptiness, and what was told at it."""
        here.counts = self.counted(here.at_s)
        here.cost = cost if self.varies else None
        if wait_s is not None:
            here.tell(wait_s, now_s)

    def _is_not_ours(self, cost: float, wait_s: float | None, now_s: float) -> bool:
        """Tell whether a refusal says nothing of the rate, whoever or whatever else it was for."""
        return self.strayed(now_s, wait_s) or self.brushed(cost, wait_s, now_s)

    def _echoed(self, cost: float, here: Moment, now_s: float, wait_s: float | None) -> None:
        """Hear of a refusal that may be an echo: in a sliding window a rush comes free as a rush.

        Where waits are told to the split second they say which window, and its calls come free in
        their own time. A refusal that comes later than the rush can is of a window that was filled
        once more: the next one will be measured from it.
        """
        if self.told is None and self.bound_echo(cost, here, self.pace):
            self.remember(here)
            self._between(now_s)
            self._pause(now_s, wait_s, cost)
            return
        self.echoes += 1
        self._pause(now_s, max(wait_s or 0.0, ECHO_S * 2.0**self.echoes), cost)
        if here.told_s is None and self.empties:
            rushed_s = self.empties[-1].at_s - self.began_s(now_s)
            if now_s - self.phase_s > rushed_s:
                self.remember(here)

    def _is_old_news(self, cost: float, mark: float, sent_s: float) -> bool:
        """Count a refused call; tell whether it was sent before an earlier one was heard of."""
        self.refused_units += cost
        if self.empties and mark <= self.empties[-1].sent:
            return True
        if sent_s >= self.reacted_s:
            return False
        if mark > self.reacted_sent:
            self.reacted_refused += cost
        return True

    def _learn(self, cost: float, here: Moment, now_s: float, wait_s: float | None) -> None:
        """Set the bounds by a moment of emptiness, and the pace by the bounds."""
        self._note_before()
        windowed = self.sees_window(cost, wait_s, self.pace)
        if windowed and self.told is not None and wait_s is not None:
            # The told window, unless what is known is younger: a rush echoes in its own time.
            began_s = self.empties[-1].at_s if self.empties else self.first_s
            rushed_s = now_s - (here.at_s if began_s is None else began_s)
            self.window_s = min(self.told_amount / self.told, rushed_s + wait_s)
            self.echo_until_s, self.echoes = now_s + wait_s + self.window_s, 0
            self.slides = self.sees_sliding(here)
        pace, mode, before = self.pace, self.mode, min(self.hi, self.pace)
        low, stand = self.lo, mode is Mode.PROBE and self._stand(now_s)
        self._bound(cost, here, wait_s)
        if stand:
            self.hi = min(self.hi, self.was)
            self.lo = self.lo if self.lo < self.hi else low
        self.weigh(before if self.told is None else math.inf, here)
        self.remember(here)
        if self.proven is not None and self.mode is Mode.HOLD:
            self.proven = max(self.mean, self.proven / 2.0)
        # The end of a rush says little of how strict a told rate is, and of a window nothing: what
        # leaves late, on a busy machine, is made up for.
        if self.told is None or not windowed:
            self.late_s = 0.25 * self.late_s if self.told is not None else 0.0
        if self.pace > 50.0:
            self.late_s = max(LATE_S_MIN, self.late_s)
        self.room_calls /= 2.0
        self.episode_s, self.recovered_s = now_s, None
        if self.safe > self.lo and self.told is None and not stand:
            self.lo = self.safe
            self.hi = max(self.hi, min(self.pace, self.lo * 1.1))
        grows_on = self.grows_on(pace, mode, now_s)
        if not grows_on:
            self._react(now_s)
        self.leap(pace, mode, now_s, wait_s)
        self._pause(now_s, wait_s, (ON_REST if grows_on else self._rest()) * cost)
        self.virtual = Bucket(self.hi if math.isfinite(self.hi) else 0.0, 4 * self.mean, 0.0, now_s)

    def _stand(self, now_s: float) -> bool:
        """Tell whether a look that was refused let in no more than the bounds allow for."""
        if self.told is not None or math.isinf(self.hi) or self._is_fall(self.was):
            return False
        if self.was >= MET * self.lo:
            return False
        return not self._overdrawn(now_s)

    def _bound(self, cost: float, here: Moment, wait_s: float | None) -> None:
        """Set the bounds by a moment of emptiness: by windows, or as those of a bucket."""
        pace, probing = self.pace, self.mode is Mode.PROBE
        windowed, told = self.windowed and self.told is None, here.told_s is not None
        if windowed and not told and self.bound_likely([*self.moments, here], cost, pace):
            return
        if self.told is None and self.bound_frame(cost, here, pace, probing):
            return
        if windowed:
            self.bound_window(cost, here, pace, probing)
        else:
            exact = wait_s is not None and is_exact(wait_s)
            self.bound(cost, here, pace, probing, exact)

    def forget(self, pace: float, now_s: float) -> None:
        """Take back what refusals taught: they were not of this rate."""
        self.clear()
        self.streak, self.paused_until_s = 0, -math.inf
        self.set_pace(pace, Mode.GROW if math.isfinite(pace) else Mode.OPEN, now_s)
