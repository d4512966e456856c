"""What is said to Google's generateContent, as values: params to a body; nothing is sent here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.limits import Load
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.price_table import Usage
from headrace.providers.remote.cell_numbers import cell_value, wrong_cell
from headrace.providers.remote.chat_params import (
    CALL_TOKENS,
    encode,
    messages_tokens,
    text_tokens,
)
from headrace.providers.remote.inlined import Inlined, is_source, sources_in
from headrace.request import Request

IMAGE_TOKENS = 1120
"""Counted for each picture that goes in: what the largest models take for one."""

_CONFIG: dict[str, type] = {
    "temperature": float,
    "topP": float,
    "topK": int,
    "maxOutputTokens": int,
    "seed": int,
    "logprobs": int,
    "presencePenalty": float,
    "frequencyPenalty": float,
    "responseLogprobs": bool,
    "stopSequences": list,
    "responseModalities": list,
    "responseMimeType": str,
    "responseSchema": dict,
    "responseJsonSchema": dict,
    "responseFormat": dict,
    "mediaResolution": str,
    "thinkingConfig": dict,
    "imageConfig": dict,
    "imageConfig.aspectRatio": str,
    "imageConfig.imageSize": str,
    "thinkingConfig.thinkingBudget": int,
    "thinkingConfig.thinkingLevel": str,
    "thinkingConfig.includeThoughts": bool,
}
"""Fields of ``generationConfig`` that a stage may set as params of their own, and their types."""

_DECLARED = {"functionDeclarations", "function_declarations"}
_SPOKEN = {"text", "functionCall", "functionResponse", "thoughtSignature"}
_TOP = ("safetySettings", "toolConfig", "cachedContent", "serviceTier")
_CONFIGS = ("config", "generationConfig", "generation_config")
_ONE = ("n", "candidate_count", "candidateCount")
_LEFT_OUT = ("prompt", "system", "contents", *_CONFIGS, *_ONE)
_FIXED = {"model": "the stage's model", "stream": "a text comes in pieces where a caller listens"}
_MODALITIES = ("TEXT", "IMAGE")
_WORDS: dict[type, str] = {str: "text", dict: "a table", list: "a list"}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: f"_{found[1].lower()}", name)


def _names(fields: Sequence[str]) -> dict[str, str]:
    """Every name that a param may have for a field: the API's own, and in small letters."""
    last = {field.rpartition(".")[2]: field for field in fields}
    return {**{_snake(name): field for name, field in last.items()}, **last}


_FIELDS = {**_names(tuple(_CONFIG)), "max_tokens": "maxOutputTokens", "stop": "stopSequences"}
_TOPS = _names(_TOP)


def wrong_param(name: str, value: Any) -> str:
    """Return what is wrong with a parameter, empty when nothing is."""
    if name in _FIXED:
        return f"{name!r} cannot be set: {_FIXED[name]}"
    if name in _ONE and value not in (1, "1"):
        return f"{name} must be 1: each item is one result"
    if name == "contents" and not isinstance(value, list):
        return "contents must be a list"
    if name in _CONFIGS:
        return _wrong_config(name, value)
    if name not in _FIELDS or is_source(value):
        return ""
    return _wrong_field(name, value, _CONFIG[_FIELDS[name]])


def _wrong_config(name: str, value: Any) -> str:
    if not isinstance(value, dict):
        return f"{name} must be a table"
    known = ((key, one) for key, one in value.items() if key not in _CONFIGS)
    return next((wrong for key, one in known if (wrong := wrong_param(key, one))), "")


def _wrong_field(name: str, value: Any, kind: type) -> str:
    if kind in (int, float, bool):
        return wrong_cell(name, value, kind)
    fits = isinstance(value, kind) or (kind is list and isinstance(value, str))
    if not fits:
        return f"{name} = {repr(value)[:100]} is not {_WORDS[kind]}"
    if _FIELDS[name] == "responseModalities":
        odd = [one for one in _listed(value) if str(one).upper() not in _MODALITIES]
        return f"{name}: {str(odd[0])[:50]!r} is none of TEXT and IMAGE" if odd else ""
    return ""


def _listed(value: Any) -> list[Any]:
    """A list, or the one text of a cell as a list."""
    return [value] if isinstance(value, str) else list(value)


def _sent(value: Any, kind: type) -> Any:
    if kind in (int, float, bool):
        return cell_value(value, kind)
    return _listed(value) if kind is list else value


def _config_of(params: Mapping[str, Any], paints: bool) -> dict[str, Any]:
    """The ``generationConfig`` of checked params; those of their own win over a table's."""
    config: dict[str, Any] = {}
    for name in _CONFIGS:
        for key, value in _table(params.get(name)).items():
            if key in _FIELDS:
                _place(config, _FIELDS[key], value)
            else:
                config[key] = value
    for name, value in params.items():
        if name in _FIELDS and not is_source(value):
            _place(config, _FIELDS[name], value)
    if paints:
        config.setdefault("responseModalities", [*_MODALITIES])
    if "responseSchema" in config or "responseJsonSchema" in config:
        config.setdefault("responseMimeType", "application/json")
    return config


def _place(config: dict[str, Any], field: str, value: Any) -> None:
    """Put a value where its field is; a field of a group may stand beside the whole group."""
    group, _, last = field.rpartition(".")
    sent = _sent(value, _CONFIG[field])
    if group:
        config[group] = {**_table(config.get(group)), last: sent}
    elif last in ("imageConfig", "thinkingConfig"):
        config[last] = {**sent, **_table(config.get(last))}
    else:
        config[last] = sent


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def body_of(request: Request, pictures: Sequence[Inlined] = ()) -> bytes:
    """Return the body of a call: ``contents``, then the pictures and the prompt as the user's.

    Raises ``CallFailed`` (invalid) for a param that cannot be sent.
    """
    params = request.params
    for name, value in params.items():
        wrong = wrong_param(name, value)
        if wrong:
            raise failed(OutcomeKind.INVALID, wrong, remedy="Change the stage's params.")
    body: dict[str, Any] = {"contents": _contents(params, pictures)}
    if "system" in params:
        system = params["system"]
        whole = isinstance(system, dict)
        body["systemInstruction"] = system if whole else {"parts": [{"text": system}]}
    config = _config_of(params, paints(request))
    if config:
        body["generationConfig"] = config
    for name, value in params.items():
        if name not in _LEFT_OUT and name not in _FIELDS and not is_source(value):
            body[_TOPS.get(name, name)] = value
    return encode(body)


def _contents(params: Mapping[str, Any], pictures: Sequence[Inlined]) -> list[Any]:
    contents: list[Any] = [*params.get("contents", ())]
    parts: list[Any] = [
        {"inlineData": {"mimeType": one.media_type, "data": one.body}} for one in pictures
    ]
    if params.get("prompt") is not None:
        parts.append({"text": params["prompt"]})
    if parts:
        contents.append({"role": "user", "parts": parts})
    if not contents:
        raise failed(OutcomeKind.INVALID, "there is neither a prompt nor contents")
    return contents


def paints(request: Request) -> bool:
    """Tell whether an image is asked for: by the modalities, else by the model's name."""
    params = request.params
    tables = [params, *(_table(params.get(name)) for name in _CONFIGS)]
    for table in tables:
        for name in ("responseModalities", "response_modalities"):
            told = table.get(name)
            if isinstance(told, str | list) and told:
                return "IMAGE" in [str(one).upper() for one in _listed(told)]
    return "image" in request.model


def wants_json(request: Request) -> bool:
    """Tell whether the answer is to be JSON."""
    params = request.params
    for table in (params, *(_table(params.get(name)) for name in _CONFIGS)):
        for name in ("responseMimeType", "response_mime_type"):
            if name in table:
                return bool(table[name] == "application/json")
        if any(_FIELDS.get(name) in ("responseSchema", "responseJsonSchema") for name in table):
            return True
    return False


def load_of(request: Request) -> Load:
    """Return what a call takes at most: its input, as Google's limits of tokens count, and images.

    A token is taken for four bytes of text.
    """
    params = request.params
    words, pictures = _apart(params.get("contents"))
    tokens = CALL_TOKENS + IMAGE_TOKENS * pictures + (messages_tokens(words) if words else 0)
    tokens += sum(text_tokens(params.get(name)) for name in ("prompt", "system", "tools"))
    tokens += IMAGE_TOKENS * sources_in(params)
    return Load(tokens=tokens, images=1 if paints(request) else 0, tokens_in=tokens)


def _apart(contents: Any) -> tuple[list[Any], int]:
    """The parts of a conversation that are words, by message, and how many pictures it holds."""
    messages: list[Any] = []
    pictures = 0
    for content in contents if isinstance(contents, list) else ():
        parts = content.get("parts") if isinstance(content, dict) else None
        told = parts if isinstance(parts, list) else [content]
        words = [part for part in told if not _is_inline(part)]
        pictures += len(told) - len(words)
        messages.append(words)
    return messages, pictures


def _is_inline(part: Any) -> bool:
    return isinstance(part, dict) and ("inlineData" in part or "inline_data" in part)


def offers_functions(request: Request, *, only: bool = False) -> bool:
    """Tell whether functions are offered, which whoever asks calls; ``only``: and nothing else."""
    tools = request.params.get("tools")
    found = [_is_declaring(tool) for tool in tools] if isinstance(tools, list) else []
    return bool(found) and (all(found) if only else any(found))


def _is_declaring(tool: Any) -> bool:
    return isinstance(tool, dict) and bool(tool.keys()) and tool.keys() <= _DECLARED


def at_list_price(request: Request) -> bool:
    """Tell whether list prices hold: tools that run at Google, and other tiers, have their own."""
    params = request.params
    tier = params.get("serviceTier", params.get("service_tier", "standard"))
    ours = "tools" not in params or offers_functions(request, only=True)
    return ours and tier in ("standard", "unspecified")


def most_of(request: Request) -> Usage | None:
    """Return the most tokens that a call can use, ``None`` where nobody knows beforehand.

    Nobody does without a most of its own for the output, or with pictures or a cache in it. A
    token has one byte at least; of a call that paints, all output may be the image.
    """
    params = request.params
    known = not request.sources and at_list_price(request) and not _cached(params)
    if not known or not _is_text(params.get("contents", [])):
        return None
    try:
        size = len(body_of(request))
    except CallFailed:
        return None
    drawn = paints(request)
    most = _config_of(params, drawn).get("maxOutputTokens")
    if most is None or most < 0:
        return None
    return Usage(
        input_tokens=size,
        output_tokens=0 if drawn else most,
        image_output_tokens=most if drawn else 0,
    )


def _cached(params: Mapping[str, Any]) -> bool:
    return "cachedContent" in params or "cached_content" in params


def _is_text(contents: Any) -> bool:
    """Tell whether a conversation holds nothing but text."""
    for content in contents if isinstance(contents, list) else ():
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict) or not part.keys() <= _SPOKEN:
                return False
    return True
