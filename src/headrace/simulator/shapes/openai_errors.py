"""OpenAI's errors and rate limit headers, in its own words."""

from __future__ import annotations

import math

from headrace.limits import DAY_S, Dimension
from headrace.simulator.desk import Desk, json_answer
from headrace.simulator.hints import Headers, go_duration, google_error
from headrace.simulator.lane import Turned
from headrace.simulator.rules import Refused
from headrace.simulator.shapes.errors import Errors
from headrace.simulator.terms import Standing, spoken
from headrace.simulator.wire import Answer

_NAMES = {
    Dimension.REQUESTS: ("requests", "RPM", "RPD"),
    Dimension.TOKENS: ("tokens", "TPM", "TPD"),
    Dimension.IMAGES: ("input-images", "", ""),
}
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_BROKEN = {
    "500": (500, "The server had an error while processing your request.", "server_error", None),
    "502": (502, "Bad gateway.", "server_error", None),
    "503": (
        503,
        "The server is currently overloaded with other requests.",
        "service_unavailable_error",
        "server_is_overloaded",
    ),
    "529": (529, "Overloaded", "overloaded_error", None),
}


def error(
    status: int,
    message: str,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: Headers = (),
) -> Answer:
    """Return an error in OpenAI's form."""
    told = {"message": message, "type": kind, "param": param, "code": code}
    return json_answer(status, {"error": told}, headers)


class OpenAIErrors(Errors):
    """Words what is no success as OpenAI does."""

    true_forms = ("seconds", "ms", "text")

    def spent(self) -> Answer:
        """Return the answer to a call for which no money is left."""
        return error(429, _QUOTA, "insufficient_quota", code="insufficient_quota")

    def broken(self, kind: str) -> Answer:
        """Return the answer to a call that failed in the provider."""
        status, message, word, code = _BROKEN.get(kind, _BROKEN["500"])
        return error(status, message, word, code=code)

    def moderated(self) -> Answer:
        """Return the refusal of a prompt for its content."""
        body = {
            "message": "Your request was rejected by the safety system.",
            "type": "image_generation_user_error",
            "param": None,
            "code": "moderation_blocked",
            "moderation_details": {"moderation_stage": "input", "categories": ["other"]},
        }
        return json_answer(400, {"error": body})

    def limited(self, turned: Turned, refused: Refused) -> Answer:
        """Return the answer to a call that a limit refused."""
        standing = turned.standing
        assert standing is not None
        told = self.hint(refused.wait_s)
        headers = (*told.headers, *limit_headers(self._desk))
        model = turned.ask.model
        if "day" in refused.kind or told.retry_info:
            # Google tells 37 s or so even when the day's quota is gone: only the quota's id says.
            wait_s = min(refused.wait_s, 37.0) if "day" in refused.kind else refused.wait_s
            shown_s = None if self._settings.retry_after == "none" else wait_s
            body = google_error(_QUOTA, model, shown_s, daily="day" in refused.kind)
            return json_answer(429, body, headers)
        if refused.dimension is Dimension.CONCURRENCY:
            said, kind = f"Too many concurrent requests for {model}", "concurrency"
            amounts = f"Limit {standing.amount:g}"
        else:
            said, kind = _words(turned, standing)
            amounts = _amounts(turned, standing)
        said += f": {amounts}." if self._settings.states_limits else "."
        if math.isinf(refused.wait_s):
            said += " The input or output tokens must be reduced."
        if told.text_s is not None:
            said += f" Please try again in {go_duration(told.text_s)}."
        body = {"message": said, "type": kind, "param": None, "code": "rate_limit_exceeded"}
        if told.body_s is not None:
            return json_answer(429, {"error": body, "retry_after": told.body_s}, headers)
        return json_answer(429, {"error": body}, headers)


def _words(turned: Turned, standing: Standing) -> tuple[str, str]:
    """Return which limit of a rate a call exceeds, in words, and its type."""
    refused, model = turned.refused, turned.ask.model
    assert refused is not None
    name, minute, day = _NAMES[refused.dimension]
    is_day = standing.window_s is not None and standing.window_s >= DAY_S
    short = f" ({day if is_day else minute})" if minute else ""
    unit = f"{name} per {'day' if is_day else 'min'}{short}"
    if math.isinf(refused.wait_s):
        return f"Request too large for {model} on {unit}", name
    return f"Rate limit reached for {model} in organization org-simulated on {unit}", name


def _amounts(turned: Turned, standing: Standing) -> str:
    """Return what a limit of a rate holds, what is used of it, and what the call would take."""
    refused, load = turned.refused, turned.ask.load
    assert refused is not None
    costs = {
        Dimension.REQUESTS: load.requests,
        Dimension.TOKENS: load.tokens,
        Dimension.IMAGES: load.images,
    }
    limit, cost = spoken(standing.amount), costs[refused.dimension]
    if math.isinf(refused.wait_s):
        return f"Limit {limit}, Requested {cost}"
    used = spoken(max(0.0, float(limit) - math.floor(standing.remaining + 1e-9)))
    return f"Limit {limit}, Used {used}, Requested {cost}"


def limit_headers(desk: Desk) -> Headers:
    """Return the ``x-ratelimit-*`` headers: true, misleading or none, as the settings say."""
    found: list[tuple[str, str]] = []
    for dimension, standing in desk.announced().items():
        if dimension not in _NAMES:
            continue
        name = _NAMES[dimension][0]
        found += [
            (f"x-ratelimit-limit-{name}", spoken(standing.amount)),
            (f"x-ratelimit-remaining-{name}", str(math.floor(standing.remaining + 1e-9))),
            (f"x-ratelimit-reset-{name}", go_duration(standing.reset_s)),
        ]
    return tuple(found)
