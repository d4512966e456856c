"""What the API is sent about tenants, plans, keys, credits, webhooks, retention and schedules."""

from __future__ import annotations

from typing import Any

from headrace.access import Scope
from headrace.cache import CacheMode
from headrace.plan import CLASSES
from headrace.price import CREDITS_MAX
from headrace.price_book import RuleKind
from headrace.webhook import EVENTS

_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}
_FLAG: dict[str, Any] = {"type": "boolean"}
_AMOUNT: dict[str, Any] = {"type": ["string", "number"], "description": "Six decimals at most."}
_TIME: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
_COUNT: dict[str, Any] = {"type": ["integer", "null"], "minimum": 0, "maximum": 2**31 - 1}
_CREDITS: dict[str, Any] = {"type": ["integer", "null"], "minimum": 0, "maximum": CREDITS_MAX}
_DAYS: dict[str, Any] = {"type": ["integer", "null"], "minimum": 1, "maximum": 36_500}
_EVENTS: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"enum": list(EVENTS)}}


def _sent(*required: str, **properties: dict[str, Any]) -> dict[str, Any]:
    """Return a body by media type: an object of these properties and no others."""
    told: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name.rstrip("_"): schema for name, schema in properties.items()},
    }
    return {"application/json": told | ({"required": list(required)} if required else {})}


TENANT = _sent("id", id=_TEXT, name=_TEXT, plan=_TEXT, timezone=_TEXT, unlimited=_FLAG)
SUSPEND = _sent("reason", reason=_TEXT)
SET_PLAN = _sent("plan", plan=_TEXT)
DAILY_CREDITS = _sent("daily_microcredits_max", daily_microcredits_max=_CREDITS)
PLAN = _sent(
    class_={"enum": list(CLASSES)},
    weight={"type": "integer", "minimum": 1, "maximum": 100},
    daily_items_max=_COUNT,
    daily_microcredits_max=_CREDITS,
    batches_max=_COUNT,
    pixels_max=_COUNT | {"minimum": 1},
    waiting_max=_COUNT,
    calls_max=_COUNT | {"minimum": 1},
    watermark={"type": ["string", "null"], "minLength": 1, "maxLength": 200},
)
KEY = _sent("name", name=_TEXT, tenant=_TEXT, scope={"enum": list(Scope)}, expires_at=_TIME)
ROTATE_KEY = _sent(grace_s={"type": "integer", "minimum": 0, "maximum": 30 * 24 * 3600})
PROVIDER_KEY = _sent("key", key=_TEXT, tenant=_TEXT, shared=_FLAG)
GRANT = _sent(
    "credits",
    "reference",
    tenant=_TEXT,
    credits=_AMOUNT,
    reason=_TEXT,
    reference={"type": "string", "minLength": 1, "maxLength": 200},
    expires_at=_TIME,
)
RULE = _sent(
    "kind",
    kind={"enum": list(RuleKind)},
    name=_TEXT,
    credits=_AMOUNT,
    margin=_AMOUNT,
    credits_per_usd=_AMOUNT,
    at_most=_AMOUNT,
    cached_credits=_AMOUNT,
    from_=_TEXT,
    end=_FLAG,
)
WEBHOOK = _sent("url", "events", url={"type": "string", "format": "uri"}, events=_EVENTS)
CHANGED_WEBHOOK = _sent(
    url={"type": "string", "format": "uri"},
    events=_EVENTS,
    state={"enum": ["enabled", "disabled"]},
)
RETENTION = _sent(inputs_days=_DAYS, artifacts_days=_DAYS, events_days=_DAYS)
SCHEDULE = _sent(
    "name",
    "cron",
    "recipe",
    name=_TEXT,
    cron={"type": "string", "examples": ["30 2 * * *"]},
    timezone={"type": "string", "examples": ["Europe/Berlin"]},
    recipe=_TEXT,
    file=_TEXT,
    folder=_TEXT,
    query=_TEXT,
    database=_TEXT,
    class_={"enum": list(CLASSES)},
    cache={"enum": list(CacheMode)},
    rows=_TEXT,
    key=_TEXTS,
    rows_max={"type": "integer", "minimum": 1},
    missed=_TEXT,
    share={"type": "string", "examples": ["30%"]},
    windows=_TEXTS | {"examples": [["22:00-06:00=30%"]]},
    max_cost_usd={"type": ["number", "string"]},
    canary={"type": "integer", "minimum": 0, "maximum": 1000},
)
STATEMENT_QUERY: list[dict[str, Any]] = [
    {"name": name, "in": "query", "required": False, "schema": schema, "description": words}
    for name, schema, words in (
        ("from", _TEXT, "A date or a time, this month by default."),
        ("to", _TEXT, "A date or a time, now by default."),
        ("format", {"enum": ["json", "csv", "focus"]}, "What is given; focus: what calls cost."),
        ("tenant", _TEXT, "Whose, for the operator."),
    )
]
