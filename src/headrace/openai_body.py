"""What a request in OpenAI's shape asks for: whose model, and which params are sent on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.errors import InputError
from headrace.openai_responses import chat_of
from headrace.openai_tools import check_tools

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
IMAGES = "/v1/images/generations"
EDITS = "/v1/images/edits"
ENDPOINTS = (CHAT, RESPONSES, IMAGES, EDITS)
PICTURES = (IMAGES, EDITS)
"""The endpoints whose answers are images."""

NOT_SENT = frozenset(
    {"model", "prompt", "stream", "stream_options", "user", "n", "metadata", "store"}
    | {"response_format", "partial_images"}
)
_ALSO_SENT = {
    CHAT: frozenset({"response_format"}),
    RESPONSES: frozenset({"response_format"}),
    IMAGES: frozenset({"prompt"}),
    EDITS: frozenset({"prompt"}),
}
SOURCES = ("image", "images", "mask")
"""The keys of an edit that name pictures."""


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
    """Return what of a body is sent, the prompt among it; raises ``InputError``.

    The pictures of an edit are not among it: ``source_names`` tells them.
    """
    if endpoint in (CHAT, RESPONSES):
        body = checked_chat(endpoint, body)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise InputError("messages must be a list of one message or more", param="messages")
    else:
        _check_picture(body)
    if endpoint == EDITS:
        source_names(body)
        body = {name: value for name, value in body.items() if name not in SOURCES}
    kept = _ALSO_SENT[endpoint]
    return {
        name: value
        for name, value in body.items()
        if value is not None and (name in kept or name not in NOT_SENT)
    }


def checked_chat(endpoint: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the chat that a body asks for, its tools looked at; raises ``InputError``."""
    if endpoint == CHAT:
        check_tools(body)
        return body
    chat = chat_of(body)
    try:
        check_tools(chat)
    except InputError as error:
        # The fields of a response: its functions stand higher, and its messages are its input.
        param = (error.param or "").replace(".function", "")
        param = "input" if param.startswith("messages") else param
        raise InputError(error.message, remedy=error.remedy, param=param) from None
    return chat


def _check_picture(body: Mapping[str, Any]) -> None:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError("prompt must be a text that is not empty")
    if body.get("response_format") not in (None, "b64_json"):
        raise InputError(
            "response_format must be b64_json", remedy="Addresses are for calls on demand."
        )


def source_names(body: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the pictures of an edit, as ``image`` and ``mask``; raises ``InputError``.

    Each is ``file-…`` or ``sha256:…``: nothing is fetched from addresses.
    """
    told = body.get("image", body.get("images"))
    images = [_name(one) for one in (told if isinstance(told, list) and told else [told])]
    found = {"image": images}
    if body.get("mask") is not None:
        found["mask"] = [_name(body["mask"])]
    return found


def _name(told: Any) -> str:
    if isinstance(told, Mapping) and told.keys() == {"file_id"}:
        told = told["file_id"]
    if not isinstance(told, str) or not told.startswith(("file-", "sha256:")):
        raise InputError(
            "an edit names no picture that it could take"
            if told is None or told == []
            else f"{str(told)[:80]!r} is no picture of yours",
            remedy='Write "image": ["file-…"], the ids of files that were uploaded, or "sha256:…".',
        )
    return told


def with_sources(body: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of an edit with its pictures by hash; ``known`` has each name's."""
    names = source_names(body)
    made = {name: value for name, value in body.items() if name not in SOURCES}
    made["image"] = [known[name] for name in names["image"]]
    if "mask" in names:
        made["mask"] = known[names["mask"][0]]
    return made
