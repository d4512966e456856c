"""What a lane has learned, in words that outlive the process: kept per lane, with its age."""

from __future__ import annotations

import math
from datetime import datetime

import msgspec

from headrace.bucket import Bucket, Spent
from headrace.limits import DAY_S, LONG_S, WAIT_S_MAX, Dimension, Quota
from headrace.outcome import OutcomeKind
from headrace.pace import RatePace
from headrace.pacing import LONG_WAIT, SHUTS_S, Pacer
from headrace.phases import Mode
from headrace.refusal_credit import START, RefusalCredit
from headrace.telemetry import log
from headrace.trail import LONGEST_S

WARM = 0.8
"""A warm start begins at this part of the pace and width that were learned."""
STALE_S = 3600.0
"""A pace below the usual start that was learned longer ago than this is asked about at once."""
FORGET_S = 7 * DAY_S
"""What was learned longer ago than this is forgotten: plans and models change."""
BRIEF_S = SHUTS_S[OutcomeKind.AUTH]
"""A lane shut for no longer is tried by the next process: most come with another key."""


class LearnedQuota(msgspec.Struct, frozen=True):
    """What was used of a quota of an hour or longer, in a window with ``left_s`` seconds to go.

    ``each`` is what a call takes on average; ``left_s`` is 0 where no window has begun.
    """

    amount: float
    window_s: float
    used: float = 0.0
    left_s: float = 0.0
    each: float = 1.0
    origin: str = "announced"

    @property
    def is_used_up(self) -> bool:
        """Whether what is left is not enough for one more call."""
        return self.used + min(self.each, self.amount) > self.amount


class LearnedRate(msgspec.Struct, frozen=True):
    """One rate, in units of its dimension a second; ``None`` stands for not known.

    ``held``: the bounds had met, so that ``pace`` is a limit and not a guess. ``told`` is
    the rate that somebody named: ``origin`` is ``pinned`` or ``told`` (the settings),
    ``announced`` (the provider) or ``learned``. ``strays`` is the share of calls, 0 to 1, that
    are refused at any pace. ``longer`` are quotas of longer windows.
    """

    pace: float | None = None
    lo: float = 0.0
    hi: float | None = None
    told: float | None = None
    origin: str = "learned"
    held: bool = False
    windowed: bool = False
    window_s: float = 0.0
    proven: float | None = None
    strays: float | None = None
    longer: tuple[LearnedQuota, ...] = ()


class LearnedWidth(msgspec.Struct, frozen=True):
    """Calls in flight: ``known`` where a refusal showed it, ``told`` where the settings do.

    ``untried``: nothing was found, ``cap`` is only where the lane began.
    """

    cap: float = 1.0
    known: bool = False
    told: bool = False
    untried: bool = False


class Learned(msgspec.Struct, frozen=True):
    """What is known of a lane; ``rates`` by the name of their dimension.

    ``credit`` is the refusals that the lane may still afford, ``call_s`` how long its
    calls took on average; ``tokens_refunded``: the provider was seen to give them back.
    For ``shut_s`` seconds more the provider takes nothing, for want of funds or of quota;
    ``shut_renews``: it takes calls again by itself then, and nobody need see to it.
    """

    width: LearnedWidth = LearnedWidth()
    rates: dict[str, LearnedRate] = {}
    credit: float = START
    call_s: float | None = None
    tokens_refunded: bool = False
    shut_s: float = 0.0
    shut_why: str = ""
    shut_renews: bool = False


class Remembered(msgspec.Struct, frozen=True):
    """What was learned, and when."""

    learned: Learned
    at: datetime

    def age_s(self, now: datetime) -> float:
        """Return how old it is; never less than nothing, should a clock have been set back."""
        return max(0.0, (now - self.at).total_seconds())

    def holds(self, now: datetime) -> bool:
        """Tell whether it is of use: not too old, nor written by a clock that was far ahead."""
        return -DAY_S <= (now - self.at).total_seconds() <= FORGET_S


def mean_call_s(mean_s: float | None, call_s: float) -> float:
    """Return the running mean of how long calls take, one more heard of."""
    return call_s if mean_s is None else mean_s + 0.05 * (call_s - mean_s)


def learned_of(pacer: Pacer, now_s: float, call_s: float | None = None) -> Learned:
    """Return what a pacer has learned by ``now_s``, without anything that is over in a minute."""
    width = pacer.width
    shut_s, shut_why, renews = _shut(pacer, now_s)
    return Learned(
        LearnedWidth(width.cap, width.known, math.isfinite(width.top), width.untried),
        {
            name.value: _rate_of(rate, pacer.quota, name, now_s)
            for name, rate in pacer.rates.items()
            # else it was only counted
            if rate.told is not None or rate.longer or math.isfinite(rate.pace)
        },
        pacer.credit.left,
        call_s,
        pacer.refunds.found,
        shut_s,
        shut_why,
        renews,
    )


def _shut(pacer: Pacer, now_s: float) -> tuple[float, str, bool]:
    """Return for how many seconds the provider takes nothing, why, and whether it renews.

    None for a moment.
    """
    shut_s = pacer.shut_until_s - now_s
    asked_s = max((rate.paused_until_s - now_s for rate in pacer.rates.values()), default=0.0)
    left_s = min(WAIT_S_MAX, max(shut_s, asked_s))
    if left_s <= BRIEF_S:
        return 0.0, "", False
    if asked_s > shut_s:
        return left_s, LONG_WAIT, True
    return left_s, pacer.shut_reason, pacer.shut_renews


def _rate_of(rate: RatePace, quota: Quota, dimension: Dimension, now_s: float) -> LearnedRate:
    told_s = {limit.window_s for limit in quota.limits if limit.dimension is dimension}
    by_settings = "pinned" if quota.pinned else "told"
    origin = "learned"
    if rate.told is not None:
        short = any((window_s or 0.0) < LONG_S for window_s in told_s)
        origin = by_settings if short else "announced"
    return LearnedRate(
        pace=_finite(rate.pace),
        lo=rate.lo,
        hi=_finite(rate.hi),
        told=rate.told,
        origin=origin,
        held=rate.mode in (Mode.HOLD, Mode.PROBE),
        windowed=rate.windowed,
        window_s=rate.window_s if rate.window_s <= LONGEST_S else 0.0,
        proven=rate.proven,
        strays=rate.strays.share if rate.stray else None,
        longer=tuple(
            _quota_of(spent, rate, by_settings if spent.window_s in told_s else "announced", now_s)
            for spent in rate.longer
        ),
    )


def _quota_of(spent: Spent, rate: RatePace, origin: str, now_s: float) -> LearnedQuota:
    left_s = min(spent.window_s, spent.since_s + spent.window_s - now_s)
    used = (spent.used, left_s) if left_s > 0 else (0.0, 0.0)
    return LearnedQuota(spent.amount, spent.window_s, *used, rate.mean, origin)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def read_learned(text: str | bytes, lane: str) -> Learned | None:
    """Return what is written; ``None``, with a line in the log, where it is not ours."""
    try:
        found = msgspec.json.decode(text, type=Learned)
        for name, rate in found.rates.items():
            _check(name, rate)
        if not 0 <= found.shut_s <= WAIT_S_MAX:
            raise ValueError(f"shut for {found.shut_s} s")
    except (msgspec.MsgspecError, ValueError) as error:
        log(lane=lane).warning("learned_is_unreadable", why=str(error))
        return None
    return found if found.width.cap >= 1 else None


def _check(name: str, rate: LearnedRate) -> None:
    Dimension(name)
    for value in (rate.pace, rate.hi, rate.told):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name}: {value} is no rate")
    if rate.lo < 0 or rate.window_s < 0:
        raise ValueError(f"{name}: a bound or a window below 0")
    for quota in rate.longer:
        if min(quota.amount, quota.window_s) <= 0:
            raise ValueError(f"{name}: {quota} is no quota")
        if min(quota.used, quota.each) < 0 or not 0 <= quota.left_s <= quota.window_s:
            raise ValueError(f"{name}: {quota} was never used so")


def warm(pacer: Pacer, learned: Learned, now_s: float, age_s: float = 0.0) -> None:
    """Let a fresh pacer begin near what was learned ``age_s`` ago, a step below it.

    What the settings tell wins over what was learned. A limit that may still be empty
    from before is not taken for full, and what was used of a day's quota stays used.
    """
    _warm_shut(pacer, learned, now_s, age_s)
    pacer.credit = RefusalCredit(min(START, learned.credit))
    pacer.refunds.found = learned.tokens_refunded
    before, width = learned.width, pacer.width
    if not before.told and not before.untried and not math.isfinite(width.top):
        width.untried = False
        warm_cap = math.ceil(WARM * before.cap)
        width.known = before.known
        width.cap = max(
            1.0, warm_cap if before.known else min(before.cap, max(width.cap, warm_cap))
        )
    for name, rate in learned.rates.items():
        _warm_rate(pacer, Dimension(name), rate, now_s, age_s)


def _warm_shut(pacer: Pacer, learned: Learned, now_s: float, age_s: float) -> None:
    left_s = learned.shut_s - age_s
    if left_s > 0:
        pacer.shut_until_s, pacer.shut_reason = now_s + left_s, learned.shut_why
        pacer.shut_renews = learned.shut_renews
        pacer.circuit.shut(pacer.shut_until_s)


def _warm_quotas(rate: RatePace, before: LearnedRate, now_s: float, age_s: float) -> None:
    """Count on from what was used, of the quotas that are told now: their amounts hold."""
    for known in before.longer:
        left_s = known.left_s - age_s
        for quota in rate.longer:
            if quota.window_s == known.window_s and left_s > 0:
                quota.since_s, quota.used = now_s + left_s - known.window_s, known.used
                rate.mean = known.each


def _warm_rate(
    pacer: Pacer, dimension: Dimension, before: LearnedRate, now_s: float, age_s: float
) -> None:
    rate = pacer.rates.get(dimension)
    if rate is not None:
        _warm_quotas(rate, before, now_s, age_s)
    if before.pace is None:
        return
    if rate is not None and rate.told is not None:
        if before.told == rate.told and age_s * rate.told < rate.told_amount:
            rate.set_pace(min(before.pace, rate.told), Mode.HOLD, now_s)
        return
    if before.hi is None or before.window_s > LONGEST_S:
        # Nothing was ever refused, or an older release took an outage for a window of hours: the
        # way of a fresh start is as good.
        return
    if rate is None:
        rate = pacer.rates[dimension] = RatePace(bucket=Bucket(math.inf, 1.0, 1.0, now_s))
    rate.windowed, rate.window_s = before.windowed, before.window_s
    rate.hi = before.hi
    rate.lo = min(before.lo, WARM * before.pace)
    usual = (pacer.quota.rate_start or 0.0) if dimension is Dimension.REQUESTS else 0.0
    low = age_s >= STALE_S and usual > before.pace
    # One look, after the first call, tells whether it is as low today.
    rate.look_to = usual if low else 0.0
    rate.set_pace(WARM * before.pace, Mode.HOLD if low else Mode.TRIAL, now_s)
    if before.proven is not None and age_s * before.pace > before.proven:
        rate.proven = WARM * before.proven
        rate.bucket.burst = rate.bucket.level = max(rate.bucket.burst, rate.proven)
