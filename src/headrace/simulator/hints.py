"""How a refusal tells its wait: in headers, in the body, in its text, or not at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from headrace.clock import Clock

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Hint:
    """The wait in the form asked for; where something is not to be told it is empty.

    ``headers`` go with the answer, ``body_s`` belongs into the body, ``text_s`` into
    its message, and ``retry_info`` asks for an error in Google's form.
    """

    headers: Headers = ()
    body_s: int | None = None
    text_s: float | None = None
    retry_info: bool = False


def hint(form: str, true_forms: tuple[str, ...], wait_s: float, clock: Clock) -> Hint:
    """Return the wait as ``form`` tells it; ``true`` stands for the provider's own forms.

    Waits are rounded up, so that who obeys is not refused again. A wait without end is
    not told.
    """
    if math.isinf(wait_s) or form == "none":
        return Hint()
    forms = true_forms if form == "true" else (form,)
    whole_s, millis = max(1, math.ceil(wait_s)), math.ceil(wait_s * 1000 - 1e-6)
    headers: list[tuple[str, str]] = []
    if "seconds" in forms:
        headers.append(("retry-after", str(whole_s)))
    if "float" in forms:
        headers.append(("retry-after", f"{millis / 1000:.3f}"))
    if "ms" in forms:
        headers.append(("retry-after-ms", str(millis)))
    if "date" in forms:
        # Rounded up, so that it is late enough against the answer's Date and any clock.
        until = datetime.fromtimestamp(math.ceil(clock.now().timestamp() + wait_s), UTC)
        headers.append(("retry-after", format_datetime(until, usegmt=True)))
    return Hint(
        tuple(headers),
        whole_s if "body" in forms else None,
        millis / 1000 if "text" in forms else None,
        "retryinfo" in forms,
    )


def go_duration(duration_s: float) -> str:
    """Return a duration as Go prints it, the way OpenAI does: 120ms, 58.891s, 6m0s, 1h0m0s."""
    millis = math.ceil(duration_s * 1000 - 1e-6)
    if millis < 1000:
        return f"{millis}ms" if millis > 0 else "0s"
    minutes, rest = divmod(millis, 60_000)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if minutes == 0:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m{seconds}"


def google_error(message: str, model: str, wait_s: float | None, *, daily: bool) -> dict[str, Any]:
    """Return a 429 body in the form of Google's APIs, with RetryInfo when there is a wait."""
    quota = "GenerateRequestsPerDayPerProjectPerModel" if daily else (
        "GenerateRequestsPerMinutePerProjectPerModel"
    )  # fmt: skip
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
        "quotaId": quota,
        "quotaDimensions": {"model": model, "location": "global"},
    }
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
    ]
    if wait_s is not None:
        delay = f"{math.ceil(wait_s * 1000) / 1000:g}s"
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        details.append({"@type": kind, "retryDelay": delay})
    return {
        "error": {
            "code": 429,
            "message": message,
            "status": "RESOURCE_EXHAUSTED",
            "details": details,
        }
    }
