"""What the simulator tells of itself, and how it is set anew: ``/_simulator/…``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from headrace.errors import HeadraceError
from headrace.limits import Load
from headrace.simulator.desk import json_answer, read_json
from headrace.simulator.lane import Lane
from headrace.simulator.makespan import Work
from headrace.simulator.scenario import build_settings
from headrace.simulator.wire import Answer, Request

if TYPE_CHECKING:
    from headrace.simulator.server import Simulator

ITEMS_MAX = 1_000_000


class Control:
    """Answers ``truth``, ``log``, ``ideal``, ``settings`` (GET) and ``reset`` (POST)."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request; errors as JSON with their remedy."""
        name = request.path.removeprefix("/_simulator/")
        simulator = self._simulator
        try:
            if name == "truth":
                return json_answer(200, tell(simulator))
            if name == "log":
                return _log(simulator)
            if name == "settings":
                return json_answer(200, simulator.settings)
            if name == "ideal":
                return json_answer(200, _ideal(simulator.lane, request.asked()))
            if name == "reset" and request.method == "POST":
                return self._reset(request)
        except (HeadraceError, ValueError) as problem:
            remedy = getattr(problem, "remedy", "")
            return json_answer(400, {"error": str(problem), "remedy": remedy})
        known = "truth, log, ideal, settings (GET), reset (POST)"
        return json_answer(404, {"error": f"no {request.method} {request.path}", "remedy": known})

    def _reset(self, request: Request) -> Answer:
        """Take new settings from the body; an empty body keeps those in force."""
        simulator = self._simulator
        if request.body:
            body = read_json(request)
            if body is None:
                return json_answer(400, {"error": "the body is not a JSON object"})
            simulator.reset(build_settings(body, "POST /_simulator/reset"))
        else:
            simulator.reset(simulator.settings)
        return json_answer(200, {"ok": True})


def tell(simulator: Simulator) -> dict[str, Any]:
    """Return the sums of the truth, with what is going on now."""
    lane = simulator.lane
    return simulator.truth.summary() | {
        "in_flight": lane.in_flight,
        "now_s": lane.now_s() if simulator.truth.total or lane.in_flight else 0.0,
        "other_admitted": lane.rules.other_admitted,
        "other_refused": lane.rules.other_refused,
        "snapshots_s": [one.at_s for one in lane.snapshots],
    }


def _log(simulator: Simulator) -> Answer:
    lines = [msgspec.json.encode(one._asdict()) for one in simulator.truth.calls]
    return Answer(200, b"\n".join(lines) + b"\n", media_type="application/x-ndjson")


def _ideal(lane: Lane, asked: dict[str, str]) -> dict[str, Any]:
    """Return the ideal makespan: of the calls that succeeded, or of ``items`` alike.

    ``items``, ``requests``, ``tokens``, ``images``: so many items that each take this.
    ``after_s``: from the snapshot of that moment, for what was let in later.
    """
    works = _asked_works(asked)
    if "after_s" in asked:
        at_s = float(asked["after_s"])
        ideal_s = lane.ideal_after_s(at_s, works)
        if ideal_s is None:
            known = ", ".join(f"{one.at_s:g}" for one in lane.snapshots) or "none"
            raise ValueError(f"no snapshot at {at_s:g} s; kept are: {known}")
        achieved_s = lane.truth.last_delivered_s - at_s
        return {
            "ideal_s": ideal_s,
            "achieved_s": achieved_s,
            "items": len(lane.works(at_s) if works is None else works),
        }
    found = lane.works() if works is None else works
    return {
        "ideal_s": lane.ideal_s(found),
        "achieved_s": lane.truth.summary()["makespan_s"],
        "items": len(found),
    }


def _asked_works(asked: dict[str, str]) -> list[Work] | None:
    if "items" not in asked:
        return None
    count = int(asked["items"])
    if not 0 <= count <= ITEMS_MAX:
        raise ValueError(f"items = {count} is not between 0 and {ITEMS_MAX}")
    numbers = {name: int(asked.get(name, "0")) for name in ("tokens", "images")}
    return [Work(Load(int(asked.get("requests", "1")), **numbers))] * count
