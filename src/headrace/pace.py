"""One rate of a lane: when its next call may go, and what its refusals mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headrace.bounds import shut_s
from headrace.bucket import Bucket
from headrace.crossing import Crossing
from headrace.fitting import Moment, is_exact
from headrace.framing import PAUSE_S_MIN
from headrace.phases import Mode
from headrace.telling import LATE_S_MIN

PAUSE_S_MAX = 60.0
ECHOES_MAX, ECHO_S = 6, 0.1
CLUSTER_CALLS = 8
BRUSHED_MAX = 3
"""Where so many refusals follow each other, somebody has shut the limit: wait, and longer."""
AWAY_SLOTS, AWAY_SLOTS_TOLD = 10.0, 40.0
"""A limit that is shut for more slots than that counts by windows; for the second, where it told
shorter waits, which others who are served make longer too."""
AWAY = 1.0 / 16.0
"""Where nobody tells a wait, a first pause is no shorter than this part of the time shut before."""
MET = 1.05
"""Bounds as near as that stand when a look above them was refused at once."""
ON_REST = 4.0
"""Growth goes on after a pause of so many calls, where nobody tells a wait."""
RETURN_CALLS = 3.0
"""Calls end in clusters: what comes back may exceed the burst by so many calls, until refused."""


@dataclass(slots=True)
class RatePace(Crossing):
    """The pace of one rate; all amounts are units of its dimension, times are seconds.

    ``streak`` counts refusals without a call accepted between them; an episode begins
    with a refusal and ends when a call that went ahead alone was not refused; the latest
    one took ``away_s``.
    """

    latest_s: float = -math.inf
    reacted_s: float = -math.inf
    reacted_sent: float = 0.0
    reacted_refused: float = 0.0
    streak: int = 0
    recovered_s: float | None = None
    room_calls: float = RETURN_CALLS
    away_s: float = 0.0

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
        self.frame_refused(cost, sent_s)
        self.correct(cost, mark, sent_s)
        if self._is_old_news(cost, mark, sent_s):
            self._pause(now_s, wait_s, cost)
            return False
        served = mark - cost - self.reacted_sent - self.reacted_refused
        # Refusals are quick: what was sent before this call, and is not back, was accepted.
        self.streak = 1 if served > 0 else self.streak + 1
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
        if self.is_noisy and self.phase_calls < CLUSTER_CALLS and self.streak < 3:
            # Whoever else there is comes in clusters: let the limit recover.
            self._pause(now_s, wait_s, self.share.rest * cost)
            return True
        if self.mode is Mode.HOLD and self.hurried(cost, here, wait_s):
            self._go(self.pace, Mode.HOLD, now_s)
            self._pause(now_s, wait_s, cost)
        else:
            self._learn(cost, here, now_s, wait_s)
        return True

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
        rest = self.share.rest if self.is_noisy else ON_REST if grows_on else 1.0
        self._pause(now_s, wait_s, rest * cost)
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

    def _recovered(self, cost: float, now_s: float) -> None:
        """Hear that calls are accepted again after a pause that had to be found out."""
        assert self.episode_s is not None
        assert self.recovered_s is not None
        away_s = self.away_s = self.recovered_s - self.episode_s
        if self.frame is not None:
            # The rest of it was our own belief.
            away_s = min(away_s, max(0.0, self.paused_until_s - self.episode_s))
        told_s = self.empties[-1].told_s if self.empties else None
        least_s = shut_s(None if told_s is None else told_s - self.episode_s)
        slots = AWAY_SLOTS if told_s is None else AWAY_SLOTS_TOLD
        # Where others are about, the pause after a first refusal is our own choice.
        shut = self.streak > 1 or not self.is_noisy
        windowed = shut and away_s > max(least_s, slots * cost / max(self.pace, 1e-9))
        self.opened(self.reacted_s, self.recovered_s)
        self.episode_s = None
        if self.told is None or self.frame is None:
            # What came in while the lane was paused is not there: the limit was empty. But since
            # one went ahead it has been filling.
            self.bucket.spill(now_s, self.bucket.rate * (now_s - self.recovered_s))
        if windowed and told_s is None:
            self.reopened(self.recovered_s, now_s)
        if windowed and self.told is None and not self.windowed:
            self.guess_window(cost, now_s, away_s, in_debt=self.allowance < 0)
            if told_s is None:
                self.bound_likely(list(self.moments), cost, self.pace)
            self._between(now_s)
        else:
            self.set_pace(self.bucket.rate, self.mode, now_s)
        self.probe_after_s = now_s + self.peace(told_s) * away_s

    def _pause(self, now_s: float, wait_s: float | None, cost: float) -> None:
        slot_s = max(PAUSE_S_MIN, cost / self.bucket.rate if self.bucket.rate > 0 else 1.0)
        least_s = slot_s
        if wait_s is None and not self.is_noisy:
            # It was shut for long before: who asks from slot to slot asks in vain more often.
            least_s = max(slot_s, AWAY * min(self.away_s, PAUSE_S_MAX))
        guess_s = min(PAUSE_S_MAX, least_s * 2.0 ** min(20, max(0, self.streak - 1)))
        pause_s = guess_s if wait_s is None else wait_s
        if self.is_noisy:
            pause_s = max(pause_s, slot_s)
        if wait_s is not None and self.streak > 1:
            # The wait was kept, and still nothing: do not believe it alone.
            longer_s = min(PAUSE_S_MAX, PAUSE_S_MIN * 2.0 ** min(20, self.streak))
            crossing = self.crossed and self.streak < BRUSHED_MAX
            pause_s = max(pause_s, slot_s if crossing else longer_s)
        if wait_s is None:
            pause_s = self.until_open_s(pause_s, now_s, again=self.streak > 1)
        until_s = max(self.paused_until_s, now_s + pause_s)
        self.idle_s += until_s - max(now_s, self.paused_until_s)
        self.paused_until_s = until_s

    def forget(self, pace: float, now_s: float) -> None:
        """Take back what refusals taught: they were not of this rate."""
        self.clear()
        self.streak, self.paused_until_s = 0, -math.inf
        self.set_pace(pace, Mode.GROW if math.isfinite(pace) else Mode.OPEN, now_s)
