"""From settings to a lane's rules, and what may be announced of each limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headrace.limits import DAY_S, Dimension, Load
from headrace.simulator.holds import Concurrency, PenaltyBox
from headrace.simulator.limiters import (
    DayQuota,
    FixedWindow,
    Gcra,
    Limiter,
    SlidingLog,
    SubWindow,
    TokenBucket,
)
from headrace.simulator.rules import Change, LaneRules, OtherTenant, Rule
from headrace.simulator.settings import LimitSettings, Settings, forever

GCRA_TOKENS_SHARE = 6.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a limit stands: ``amount`` per ``window_s`` (``None``: at a time), what is left.

    ``reset_s`` are the seconds until all of it could be taken again.
    """

    amount: float
    window_s: float | None
    remaining: float
    reset_s: float


def lane_rules(settings: Settings) -> LaneRules:
    """Return fresh rules as the settings describe them; time starts at the first request."""
    rules = [Rule(Dimension(one.dimension), _limiter(one)) for one in settings.limits]
    changes = [
        Change(
            one.at_s,
            one.factor,
            forever(one.until_s),
            None if one.dimension is None else Dimension(one.dimension),
        )
        for one in settings.changes
    ]
    return LaneRules(
        rules,
        refunds=settings.refunds,
        refused_costs=settings.refused_costs,
        changes=changes,
        other=_other(settings),
    )


def _limiter(one: LimitSettings) -> Limiter:
    inner = _plain(one)
    return PenaltyBox(inner, one.penalty_s, one.extends) if one.penalty_s else inner


def _plain(one: LimitSettings) -> Limiter:
    if one.dimension == Dimension.CONCURRENCY:
        return Concurrency(one.amount)
    rate = one.amount / one.span_s
    if one.kind == "bucket":
        return TokenBucket(rate, one.burst or one.amount)
    if one.kind == "gcra":
        is_tokens = one.dimension == Dimension.TOKENS
        return Gcra(rate, one.burst or (one.amount / GCRA_TOKENS_SHARE if is_tokens else 1.0))
    if one.kind == "sliding":
        return SlidingLog(one.amount, one.span_s)
    if one.kind == "subwindow":
        return SubWindow(one.amount, one.span_s, one.sub_s, one.offset_s)
    if one.kind == "day":
        return DayQuota(one.amount, one.offset_s, one.span_s)
    return FixedWindow(one.amount, one.span_s, one.offset_s)


def _other(settings: Settings) -> OtherTenant | None:
    """Return the other user; the amounts of its calls make it want its share of each limit."""
    other = settings.other
    if other is None:
        return None
    rates = {
        dimension: min(
            (
                one.amount / one.span_s
                for one in settings.limits
                if one.dimension == dimension and one.kind != "day"
            ),
            default=0.0,
        )
        for dimension in (Dimension.REQUESTS, Dimension.TOKENS, Dimension.IMAGES)
    }
    rate = other.rate
    if rate is None:
        basis = rates[Dimension.REQUESTS] or rates[Dimension.IMAGES]
        # A lane with a limit of tokens alone: ten calls a second, each with its part.
        rate = other.share * basis if basis else 10.0
    load = Load(
        requests=1,
        tokens=round(other.share * rates[Dimension.TOKENS] / rate),
        images=math.ceil(other.share * rates[Dimension.IMAGES] / rate - 1e-9),
    )
    return OtherTenant(
        rate,
        load,
        other.holds_s,
        settings.seed,
        other.from_s,
        forever(other.until_s),
        other.insists,
    )


def standing(limiter: Limiter, now_s: float) -> Standing:
    """Return what a truthful provider would announce: a day's amount, or a minute's."""
    inner = limiter.inner if isinstance(limiter, PenaltyBox) else limiter
    left, reset_s = max(0.0, limiter.remaining(now_s)), max(0.0, limiter.reset_s(now_s))
    if isinstance(inner, Concurrency):
        return Standing(inner.amount, None, left, reset_s)
    if isinstance(inner, TokenBucket | Gcra):
        return Standing(inner.rate * 60.0, 60.0, left, reset_s)
    assert isinstance(inner, FixedWindow | SlidingLog)
    if isinstance(inner, DayQuota) or inner.window_s >= DAY_S:
        return Standing(inner.amount, DAY_S, left, reset_s)
    return Standing(inner.amount * 60.0 / inner.window_s, 60.0, left, reset_s)


def spoken(amount: float) -> str:
    """Return an amount as providers state it: whole; one below ten with its fraction.

    Of one call in two minutes the whole part would be no call at all.
    """
    if amount >= 10:
        return str(math.floor(amount + 1e-9))
    return f"{amount:.6f}".rstrip("0").rstrip(".")
