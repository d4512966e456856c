"""The servers that speak OpenAI's verbs with another accent: what differs, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from headrace.waits import dig, read_number

USD_MAX = 10_000.0
"""A server that tells of a call above this is not believed."""

Numbers = Mapping[str, type[int] | type[float]]
_SAMPLING: Numbers = {"top_k": int, "min_p": float, "repetition_penalty": float}
_DIFFUSION: Numbers = {
    "width": int,
    "height": int,
    "num_inference_steps": int,
    "guidance_scale": float,
    "true_cfg_scale": float,
}


@dataclass(frozen=True)
class Profile:
    """What is known of one kind of server.

    ``key_env`` is empty where none is needed. ``api`` is what it is asked for when neither
    table nor params say. ``numbers`` are params of its own that are numbers,
    ``response_format`` the word for images as base64, ``edits`` whether it takes
    pictures as files. ``signals`` are the tables of ``headrace.refusals`` for its errors.
    ``cost_header`` or ``cost_field`` (of ``usage``) tell the true cost of a call in USD.
    """

    base_url: str = ""
    key_env: str = ""
    hosts: tuple[str, ...] = ()
    api: str = ""
    preset: str | None = None
    signals: str = "openai-compatible"
    numbers: Numbers = field(default_factory=lambda: MappingProxyType({}))
    response_format: str = "b64_json"
    edits: bool = True
    cost_header: str = ""
    cost_field: str = ""


PROFILES: Mapping[str, Profile] = {
    # vLLM and its kin hold nothing back: too much is only slow.
    "vllm": Profile("http://127.0.0.1:8000/v1", preset="self-hosted", numbers=_SAMPLING),
    "vllm-omni": Profile(
        "http://127.0.0.1:8000/v1", api="images", preset="self-hosted", numbers=_DIFFUSION
    ),
    "sglang": Profile(
        "http://127.0.0.1:30000/v1", preset="self-hosted", numbers={**_SAMPLING, **_DIFFUSION}
    ),
    "ollama": Profile("http://127.0.0.1:11434/v1", preset="self-hosted", signals="ollama"),
    "llama-cpp": Profile("http://127.0.0.1:8080/v1", preset="self-hosted", numbers=_SAMPLING),
    "together": Profile(
        "https://api.together.ai/v1",
        key_env="TOGETHER_API_KEY",
        hosts=("api.together.xyz",),
        numbers={**_SAMPLING, **_DIFFUSION, "steps": int},
        response_format="base64",
        edits=False,
    ),
    "openrouter": Profile(
        "https://openrouter.ai/api/v1",
        key_env="OPENROUTER_API_KEY",
        signals="openrouter",
        numbers=_SAMPLING,
        edits=False,
        cost_field="cost",
    ),
    "litellm": Profile(
        "http://127.0.0.1:4000/v1",
        key_env="LITELLM_API_KEY",
        signals="litellm",
        cost_header="x-litellm-response-cost",
    ),
}
PLAIN = Profile()
"""A server of no known kind: where it is has to be said."""


def cost_microusd(profile: Profile, headers: Mapping[str, str], usage: Any) -> int | None:
    """Return the true cost that an answer tells, ``None`` where it tells none.

    Zero is what such servers say of a model whose price they do not know: it is no cost.
    """
    told: Any = None
    if profile.cost_header:
        told = headers.get(profile.cost_header)
    elif profile.cost_field:
        told = dig(usage, profile.cost_field)
    usd = read_number(told)
    if usd is None or not 0.0 < usd <= USD_MAX:
        return None
    return max(1, round(usd * 1_000_000))
