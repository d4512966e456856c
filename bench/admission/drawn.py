"""Scenarios drawn by lot from a seed: nobody has tuned anything on them."""

from __future__ import annotations

import random
from typing import Any

from bench.admission.cases import all_cases, limit
from bench.admission.scenario import Scenario

DURATION_S, LEARNING_S = 80.0, 40.0
WINDOW_S_MAX = 4.0
HINTS = ("seconds", "float", "ms", "date", "body", "text", "retryinfo", "none")


def known_cases(seed: int, drawn: int) -> dict[str, Scenario]:
    """Return the benchmark's scenarios by their names, with so many ``drawn`` ones of a seed."""
    both = (*all_cases(), *(draw(seed, number + 1) for number in range(drawn)))
    return {one.name: one for one in both}


def draw(seed: int, number: int) -> Scenario:
    """Return the scenario with this number (from 1) of a seed."""
    chance = random.Random(f"{seed}/{number}")
    rate = 2.0 * 100.0 ** chance.random()
    kind = chance.choice(("bucket", "gcra", "fixed", "sliding", "subwindow"))
    window_s = round(60.0 ** (0.15 + 0.85 * chance.random()), 1)
    hint = chance.choice(HINTS)
    headers = chance.choice(("true", "none", "none", "misleading"))
    tokens = chance.random() < 0.25
    other = chance.random() < 0.25
    changes = not other and chance.random() < 0.25
    if changes:
        # Beside a change, whole windows cannot be compared: short ones keep what that costs small.
        window_s = min(window_s, WINDOW_S_MAX)
    tree: dict[str, Any] = {
        "seed": number,
        "limits": [_limit(chance, kind, rate, window_s, tokens)],
        "retry_after": hint,
        "headers": {"kind": headers, "factor": round(chance.uniform(0.5, 3.0), 2)},
        "latency": {
            "median_s": round(0.1 * 20.0 ** chance.random(), 2),
            "sigma": round(chance.uniform(0.0, 0.5), 2),
        },
        "refused_costs": chance.random() < 0.3,
    }
    if other:
        tree["other"] = {"share": round(chance.uniform(0.1, 0.4), 2)}
    if changes:
        tree["changes"] = [
            {"at_s": 50.0, "until_s": 70.0, "factor": round(chance.uniform(0.4, 1.6), 2)}
        ]
    texts = {"prompt_chars": (400, 1600), "max_tokens": (100, 500)} if tokens else {}
    return Scenario(
        f"random-{number}",
        _title(tree, rate, tokens),
        _situation(tree),
        tree,
        "announced" if headers == "true" else "hidden",
        duration_s=DURATION_S,
        learning_s=LEARNING_S,
        units=1 + int(rate / 40),
        **texts,
    )


MEAN_TOKENS = 550.0


def _limit(
    chance: random.Random, kind: str, rate: float, window_s: float, tokens: bool
) -> dict[str, Any]:
    each = MEAN_TOKENS if tokens else 1.0
    dimension = "tokens" if tokens else "requests"
    # At least ten calls in a window, so that one call more or less is not a tenth of it.
    window_s = max(window_s, round(10.0 / rate, 1))
    amount = max(1.0, round(rate * each * window_s))
    if kind == "bucket":
        return limit(dimension, kind, amount, window_s, burst=max(each * 2, amount / 2))
    if kind == "gcra":
        return limit(dimension, kind, amount, window_s, burst=each * chance.choice((2, 3, 10)))
    if kind == "subwindow":
        return limit(dimension, kind, amount, window_s, sub_s=max(1.0, round(window_s / 6, 1)))
    return limit(dimension, kind, amount, window_s)


def _title(tree: dict[str, Any], rate: float, tokens: bool) -> str:
    one = tree["limits"][0]
    parts = [
        f"{one['kind']} {rate:.3g}/s{' by tokens' if tokens else ''} in {one['window_s']:g} s",
        f"wait {tree['retry_after']}",
        f"headers {tree['headers']['kind']}",
        f"latency {tree['latency']['median_s']:g}",
    ]
    parts += ["refused calls count"] if tree["refused_costs"] else []
    parts += [f"other {tree['other']['share']:.0%}"] if "other" in tree else []
    parts += [f"× {tree['changes'][0]['factor']:g} for 20 s"] if "changes" in tree else []
    return ", ".join(parts)


def _situation(tree: dict[str, Any]) -> str:
    """Return the line of the targets that fits; none fits a lane with several of its traits."""
    if "other" in tree:
        return "refused costs, shared" if tree["refused_costs"] else "shared"
    told = tree["headers"]["kind"] == "true"
    if "changes" in tree:
        return "changing, told" if told else "changing, hidden"
    if tree["headers"]["kind"] == "misleading" or tree["refused_costs"]:
        return "headline"
    if told:
        return "told"
    return "no hints" if tree["retry_after"] == "none" else "wait told"
