"""The config table of the openai provider: what is wrong is named, and no key is ever shown."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.errors import ConfigError
from headrace.provider import CrashClass
from headrace.providers.openai.adapter import OpenAIProvider
from headrace.providers.openai.settings import read_openai
from headrace.providers.shelf import Shelf

KEY = "sk-very-secret-0123456789"


def test_an_empty_table_is_the_public_api() -> None:
    """The key comes from its usual variable; nothing may be sent twice."""
    settings = read_openai("openai", {}, {"OPENAI_API_KEY": KEY})
    assert str(settings.remote.base_url) == "https://api.openai.com/v1"
    assert settings.headers() == {"Authorization": f"Bearer {KEY}"}
    assert settings.remote.crash_class is CrashClass.BLIND
    assert not settings.remote.is_local


def test_the_table_wins_over_the_environment() -> None:
    """Address and key are those of the table; another variable may be named."""
    env = {"OPENAI_BASE_URL": "http://e.example/v1", "OPENAI_API_KEY": "other", "MINE": KEY}
    assert str(read_openai("x", {}, env).remote.base_url) == "http://e.example/v1"
    table = {"base_url": "http://localhost:8000/v1/", "api_key_env": "MINE"}
    settings = read_openai("x", table, env)
    assert str(settings.remote.base_url) == "http://localhost:8000/v1"
    assert settings.remote.is_local
    assert settings.remote.api_key == KEY
    assert read_openai("x", {"api_key": "inline"}, env).remote.api_key == "inline"


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"base_url": "ftp://x/v1"}, "base_url"),
        ({"base_url": "https://"}, "base_url"),
        ({"base_url": "https://x:99999/v1"}, "base_url"),
        ({"base_url": f"https://me:{KEY}@x.example/v1"}, "base_url"),
        ({"base_url": f"https://x.example/v1?key={KEY}"}, "base_url"),
        ({"api_key": 12345}, "api_key"),
        ({"api_key": f"{KEY}\nX-Evil: 1"}, "api_key"),
        ({"api_key": f"{KEY} "[::-1] + "x y"}, "api_key"),
        ({"organization": "ürg"}, "organization"),
        ({"crash_class": "B"}, "crash_class"),
        ({"api": "audio"}, "api"),
        ({"models": "gpt-x"}, "models"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": 1.5}, "concurrency"),
        ({"price_microcredits": -1}, "price_microcredits"),
        ({"limits": {"rpm": 5}}, "limits"),
        ({"limits": 5}, "limits"),
        ({"tokens_refunded": "yes"}, "tokens_refunded"),
    ],
)
def test_wrong_settings_name_their_place_and_show_no_key(table: dict[str, Any], place: str) -> None:
    """Every wrong value is a ConfigError with the setting's name."""
    with pytest.raises(ConfigError) as caught:
        read_openai("mine", table, {})
    assert caught.value.place.startswith(f"[providers.mine] {place}")
    assert KEY not in repr(caught.value) + str(caught.value)
    assert KEY[::-1] not in str(caught.value)


def test_an_unknown_key_is_told_its_nearest() -> None:
    """A slip of the pen is answered with the key that was meant."""
    with pytest.raises(ConfigError, match="Did you mean 'base_url'"):
        read_openai("mine", {"baseurl": "x"}, {})


def test_the_key_is_in_no_repr() -> None:
    """Neither the settings nor the provider show it."""
    settings = read_openai("mine", {"api_key": KEY}, {})
    provider = OpenAIProvider(settings, name="mine", clock=SystemClock())
    assert KEY not in repr(settings) + repr(provider) + str(settings)


def test_the_shelf_builds_it_under_any_name() -> None:
    """Several tables of the kind stand side by side, each with its limits."""
    tables = {
        "openai": {"limits": {"requests_per_minute": 60}},
        "local": {"kind": "openai", "base_url": "http://127.0.0.1:8000/v1", "concurrency": 2},
    }
    shelf = Shelf(tables, (), SystemClock())
    assert shelf["openai"].quota.pinned
    assert shelf["local"].name == "local"
    assert shelf["local"].quota.concurrency == 2
