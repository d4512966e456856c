"""The servers that speak OpenAI's verbs with another accent: what differs, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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
    ``zero_is_unknown``: it tells a cost of zero for models that it has no price of.
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
    zero_is_unknown: bool = False


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
    ),
    "litellm": Profile(
        "http://127.0.0.1:4000/v1",
        key_env="LITELLM_API_KEY",
        signals="litellm",
        zero_is_unknown=True,
    ),
}
PLAIN = Profile()
"""A server of no known kind: where it is has to be said."""
