"""What a request in OpenAI's shape asks for: whose model, and which params are sent on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.errors import InputError

CHAT = "/v1/chat/completions"
IMAGES = "/v1/images/generations"
ENDPOINTS = (CHAT, IMAGES)
NOT_SENT = frozenset(
    {"model", "prompt", "stream", "stream_options", "user", "n", "metadata", "store"}
    | {"response_format"}
)
_ALSO_SENT = {CHAT: frozenset({"response_format"}), IMAGES: frozenset({"prompt"})}


def model_of(body: Mapping[str, Any]) -> str:
    """Return the model, ``provider:model``; raises ``InputError``."""
    model = body.get("model")
    provider, colon, rest = model.partition(":") if isinstance(model, str) else ("", "", "")
    if not (colon and provider and rest):
        raise InputError(
            f"model = {str(model)[:200]!r} does not say whose it is",
            remedy='Write "provider:model", with a provider of headrace.toml.',
        )
    if body.get("n") not in (None, 1):
        raise InputError("n must be 1", remedy="Call again for another result.")
    return f"{provider}:{rest}"


def params_of(endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a body is sent, the prompt among it; raises ``InputError``."""
    if endpoint == CHAT:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise InputError("messages must be a list of one message or more")
    else:
        prompt = body.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError("prompt must be a text that is not empty")
        if body.get("response_format") not in (None, "b64_json"):
            raise InputError(
                "response_format must be b64_json", remedy="Addresses are not in this release."
            )
    kept = _ALSO_SENT[endpoint]
    return {
        name: value
        for name, value in body.items()
        if value is not None and (name in kept or name not in NOT_SENT)
    }
