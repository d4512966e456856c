"""What the API is sent, as the OpenAPI document describes it."""

from __future__ import annotations

from typing import Any

from headrace.lifecycle import ItemState
from headrace.outcome import OutcomeKind

_SETTINGS: dict[str, Any] = {
    "recipe": {"type": "string", "description": "The name of a recipe."},
    "name": {"type": "string", "description": "What the batch is called."},
    "class": {"enum": ["interactive", "batch", "bulk"]},
    "cache": {"enum": ["reuse", "refresh", "off"]},
    "unknown": {
        "enum": ["retry", "hold", "refund"],
        "description": "What is done about calls whose answer was never seen.",
    },
    "strict": {"type": "boolean", "description": "Refuse everything for one bad row."},
    "canary": {"type": "integer", "minimum": 0, "description": "So many rows run alone first."},
    "look_first": {"type": "boolean", "description": "Pause after the canary."},
    "max_cost_usd": {
        "type": ["number", "string"],
        "description": "The most that its calls may cost, in US dollars.",
    },
    "deadline": {
        "type": "string",
        "pattern": "^[0-9]{1,7}(\\.[0-9]{1,3})?[smhd]$",
        "description": "By when it should be done, as in 24h: time for providers' batches.",
    },
}
_JSON: dict[str, Any] = {
    "type": "object",
    "required": ["recipe", "rows"],
    "additionalProperties": False,
    "properties": {
        **_SETTINGS,
        "rows": {"type": "array", "minItems": 1, "items": {"type": "object"}},
    },
}
_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["recipe", "file"],
    "additionalProperties": False,
    "properties": {**_SETTINGS, "file": {"type": "string", "format": "binary"}},
}
SUBMIT_BODY: dict[str, Any] = {
    "application/json": _JSON,
    "multipart/form-data": _FORM,
    "text/csv": {"type": "string"},
    "application/jsonl": {"type": "string"},
}
UPLOAD_QUERY: list[dict[str, Any]] = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "schema": {key: value for key, value in schema.items() if key != "description"},
        "description": "For a body that is the file itself.",
    }
    for name, schema in _SETTINGS.items()
] + [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": "The same key with the same body is the same batch.",
    }
]
RETRY_BODY: dict[str, Any] = {
    "application/json": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "states": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "enum": [
                        state.value
                        for state in (
                            ItemState.FAILED,
                            ItemState.REFUSED,
                            ItemState.DEAD,
                            ItemState.UNKNOWN,
                        )
                    ]
                },
            },
            "rows": {
                "type": "array",
                "minItems": 1,
                "maxItems": 10_000,
                "items": {"type": "integer", "minimum": 1},
            },
            "outcomes": {
                "type": "array",
                "minItems": 1,
                "items": {"enum": [kind.value for kind in OutcomeKind]},
            },
            "stage": {"type": "string"},
            "provider": {"type": "string"},
        },
    }
}
