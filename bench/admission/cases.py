"""The scenarios, the same for every client. No client is tuned for any of them."""

from __future__ import annotations

from typing import Any

from bench.admission.scenario import Scenario

_QUIET: dict[str, Any] = {"headers": {"kind": "none"}}
_LATENCY: dict[str, Any] = {"latency": {"median_s": 0.6, "sigma": 0.3}}
_TEXTS: dict[str, Any] = {"prompt_chars": (400, 1600), "max_tokens": (100, 500)}
_TOLD, _HIDDEN = 10.0, 40.0
"""Learning takes so long, in seconds: ten of the windows used here where nothing is told."""


def limit(dimension: str, kind: str, amount: float, window_s: float, **more: Any) -> dict[str, Any]:
    """Return one limit of the simulator."""
    return {"dimension": dimension, "kind": kind, "amount": amount, "window_s": window_s} | more


def lane(*limits: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a simulator's settings of such limits, without headers, of a usual latency."""
    return {"limits": list(limits)} | _QUIET | _LATENCY | more


_MINUTELY = limit("requests", "bucket", 600, 60, burst=20)
_TOKENS = limit("tokens", "bucket", 300_000, 60, burst=30_000)
_RPM = {"requests_per_minute": 600}
_HALVES = [{"at_s": 45.0, "until_s": 70.0, "factor": 0.5}]


def _told() -> list[Scenario]:
    return [
        Scenario(
            "told-buckets", "requests and tokens a minute, buckets", "told",
            lane(_MINUTELY, _TOKENS), "told", _RPM | {"tokens_per_minute": 300_000}, **_TEXTS,
        ),
        Scenario(
            "announced", "the same, only announced in the headers", "told",
            lane(_MINUTELY, _TOKENS, headers={"kind": "true"}), "announced", **_TEXTS,
        ),
        Scenario(
            "told-gcra", "strict pacing, 5 a second, no burst", "told",
            lane(limit("requests", "gcra", 300, 60)), "told", {"requests_per_minute": 300},
        ),
        Scenario(
            "told-fixed", "fixed windows, 120 in 12 s", "told",
            lane(limit("requests", "fixed", 120, 12)), "told", _RPM, duration_s=72.0,
        ),
        Scenario(
            "told-sliding", "sliding log, 100 in 10 s", "told",
            lane(limit("requests", "sliding", 100, 10)), "told", _RPM, duration_s=70.0,
        ),
    ]  # fmt: skip


def _hidden() -> list[Scenario]:
    def case(
        name: str, title: str, situation: str, hint: str, *limits: Any, **more: Any
    ) -> Scenario:
        fields = {"learning_s": _HIDDEN, "duration_s": 90.0} | more
        return Scenario(name, title, situation, lane(*limits, retry_after=hint), **fields)

    fixed = limit("requests", "fixed", 40, 4)
    return [
        case("hidden-bucket", "bucket of 20, 10 a second", "wait told", "seconds", _MINUTELY),
        case(
            "hidden-gcra", "8 a second, 3 at once", "wait told", "ms",
            limit("requests", "gcra", 480, 60, burst=3),
        ),
        case("hidden-fixed", "fixed windows, 40 in 4 s", "no hints", "none", fixed),
        case(
            "hidden-sliding", "sliding log, 50 in 5 s", "no hints", "none",
            limit("requests", "sliding", 50, 5),
        ),
        case(
            "hidden-subwindow", "600 a minute, counted as 10 a second", "no hints", "none",
            limit("requests", "subwindow", 600, 60, sub_s=1.0),
        ),
        case(
            "hidden-tokens", "tokens a minute, the wait in the text", "wait told", "text", _TOKENS,
            **_TEXTS,
        ),
    ]  # fmt: skip


def _moving() -> list[Scenario]:
    shared = limit("requests", "bucket", 600, 60, burst=10)
    other = {"other": {"share": 0.4}}
    slow = {"learning_s": _HIDDEN, "duration_s": 90.0}
    return [
        Scenario(
            "shared", "another takes 40 % of the key", "shared",
            lane(shared, retry_after="true", **other), **slow,
        ),
        Scenario(
            "shared-costly", "the same, and refused calls count", "refused costs, shared",
            lane(shared, retry_after="true", refused_costs=True, **other), **slow,
        ),
        Scenario(
            "halves-told", "the limit halves for 25 s, told", "changing, told",
            lane(shared, changes=_HALVES), "told", _RPM, duration_s=100.0,
        ),
        Scenario(
            "halves-hidden", "the limit halves for 25 s, hidden", "changing, hidden",
            lane(shared, changes=_HALVES), learning_s=_HIDDEN, duration_s=110.0,
        ),
        Scenario(
            "faults", "a burst of 503, resets, calls that hang", "faults",
            lane(shared, faults=_FAULTS), "told", _RPM, duration_s=75.0,
        ),
        Scenario(
            "strays", "3 calls in 100 are refused at random, at any pace", "strays",
            lane(shared, retry_after="none", faults=[{"kind": "429", "share": 0.03}]),
            learning_s=_HIDDEN, duration_s=120.0,
        ),
        Scenario(
            "outage", "all calls fail for 20 s", "outage",
            lane(shared, faults=[{"kind": "outage", "from_s": 20.0, "until_s": 40.0}]),
            "told", _RPM, duration_s=100.0, kind="outage",
        ),
        Scenario(
            "misleading", "headers announce twice the limit", "wait told",
            lane(
                _MINUTELY, retry_after="seconds", headers={"kind": "misleading", "factor": 2.0}
            ),
            "announced", learning_s=_HIDDEN, duration_s=90.0,
        ),
    ]  # fmt: skip


_FAULTS = [
    {"kind": "503", "share": 0.3, "from_s": 20.0, "until_s": 30.0},
    {"kind": "reset_before", "share": 0.01},
    {"kind": "reset_after", "share": 0.005},
    {"kind": "hang", "share": 0.005, "until_s": 45.0, "hang_s": 15.0},
]


def _wide() -> list[Scenario]:
    pictures = {
        "latency": {"median_s": 1.5, "sigma": 0.2},
        "output": {"image_bytes": 2_500_000},
        **_QUIET,
    }
    eight = [{"dimension": "concurrency", "kind": "concurrency", "amount": 8}]
    return [
        Scenario(
            "images-told", "pictures of 2.5 MB, 8 at a time, told", "images",
            {"limits": eight} | pictures, "told", {"concurrency": 8}, "images", units=2,
        ),
        Scenario(
            "images-hidden", "pictures of 2.5 MB, 8 at a time, hidden", "images",
            {"limits": eight, "retry_after": "none"} | pictures, shape="images",
            learning_s=_HIDDEN, duration_s=90.0, units=2,
        ),
        Scenario(
            "own-server", "a server of one's own: 8 slots, the rest waits", "own server",
            {"limits": [], "latency": {"median_s": 0.8, "sigma": 0.2, "slots": 8}} | _QUIET,
            learning_s=20.0, duration_s=80.0,
        ),
        Scenario(
            "high-rate", "5,000 a second, 50 ms", "high rate",
            {"limits": [limit("requests", "bucket", 5000, 1)], "latency": {"median_s": 0.05}}
            | _QUIET,
            "told", {"requests_per_second": 5000}, items=60_000, learning_s=5.0, units=99,
        ),
    ]  # fmt: skip


def _minutes() -> list[Scenario]:
    return [
        Scenario(
            "minute-fixed", "real minutes: fixed windows of 300, hidden", "no hints",
            lane(limit("requests", "fixed", 300, 60), retry_after="none"),
            learning_s=120.0, duration_s=300.0,
        ),
        Scenario(
            "minute-begun", "the same, and one had begun 35 s before", "no hints",
            lane(limit("requests", "fixed", 300, 60, offset_s=25.0), retry_after="none"),
            learning_s=120.0, duration_s=300.0,
        ),
        Scenario(
            "minute-bucket", "real minutes: a bucket of 300, announced", "told",
            lane(limit("requests", "bucket", 300, 60), headers={"kind": "true"}), "announced",
            learning_s=60.0, duration_s=240.0,
        ),
        Scenario(
            "minute-tokens", "real minutes: 200,000 tokens in fixed windows, told", "told",
            lane(limit("tokens", "fixed", 200_000, 60)), "told", {"tokens_per_minute": 200_000},
            learning_s=20.0, duration_s=240.0, **_TEXTS,
        ),
    ]  # fmt: skip


def _workers() -> list[Scenario]:
    settings = lane(limit("requests", "bucket", 1200, 60, burst=10))
    return [
        Scenario(
            f"workers-{count}", f"{count} processes on one lane{more}", "workers", settings,
            "told", {"requests_per_minute": 1200}, kind="workers", workers=count, units=count,
            learning_s=15.0, duration_s=75.0,
        )
        for count, more in ((2, ""), (8, ", two killed on the way"))
    ]  # fmt: skip


def all_cases() -> list[Scenario]:
    """Return the scenarios in the order in which they are shown."""
    return [*_told(), *_hidden(), *_moving(), *_wide(), *_minutes(), *_workers()]
