"""Settings: one tree from four places, and every wrong one is answered with its place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.config import FREE_TABLES, Config, default_config_text, load_config
from headrace.errors import ConfigError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the headrace.toml of the folder it is started in."""
    monkeypatch.chdir(tmp_path)


def load(text: str | None = None, env: dict[str, str] | None = None, **flags: Any) -> Config:
    if text is not None:
        Path("headrace.toml").write_text(text, encoding="utf-8")
    return load_config(environment=env or {}, flags=flags)


def refused(
    text: str | None = None, env: dict[str, str] | None = None, **flags: Any
) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(text, env, **flags)
    assert caught.value.place
    return caught.value


def test_later_places_win() -> None:
    """Flags win over variables, variables over the file, the file over the defaults."""
    text = "[worker]\nshards_held = 5\nshard_items_max = 50\n[cache]\nttl_s = 7"
    env = {"HEADRACE_WORKER__SHARDS_HELD": "6", "HEADRACE_CACHE__MODE": "off"}
    config = load(text, env, **{"worker.shards_held": 7, "home": None})
    assert config.worker.shards_held == 7
    assert config.worker.shard_items_max == 50
    assert (config.cache.ttl_s, config.cache.mode) == (7.0, "off")
    assert config.home == ".headrace"
    assert load(text, env).worker.shards_held == 6


def test_nothing_set_is_the_defaults() -> None:
    """Without a file, a variable or a flag, the defaults hold."""
    assert load() == Config()


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    """The folder's file is optional; one that is named, by argument or variable, is not."""
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "other.toml", environment={})
    assert "no such file" in refused(env={"HEADRACE_CONFIG": "other.toml"}).message
    Path("other.toml").write_text("home = 'there'")
    assert load(env={"HEADRACE_CONFIG": "other.toml"}).home == "there"


UNKNOWN = [
    ("[worker]\nshard_held = 3", "'worker.shard_held' (line 2)", "shards_held"),
    ("[retry]\nattempts = 3\n[cache]\nattempts = 1", "'cache.attempts' (line 4)", "ttl_s"),
    ("[wroker]\nx = 1", "'wroker' (line 1)", "worker"),
    ("# a\ncache.tll_s = 1", "'cache.tll_s' (line 2)", "ttl_s"),
]


@pytest.mark.parametrize(("text", "message", "remedy"), UNKNOWN)
def test_unknown_settings_name_line_and_neighbour(text: str, message: str, remedy: str) -> None:
    """A misspelt setting is answered with its line and the setting that was meant."""
    error = refused(text)
    assert error.place == "headrace.toml"
    assert message in error.message
    assert remedy in error.remedy


def test_unknown_variables_and_flags_are_errors() -> None:
    """A misspelt variable or flag is an error too, not silence."""
    assert refused(env={"HEADRACE_DATABSE_URL": "x"}).place == "HEADRACE_DATABSE_URL"
    assert refused(**{"worker.shards_hel": 3}).remedy == "Did you mean 'shards_held'?"


WRONG = [
    ("[worker]\nshards_held = 'three'", "worker.shards_held = 'three' is not a whole number"),
    ("[worker]\n\nshards_held = 2.5", "worker.shards_held = 2.5 is not a whole number"),
    ("home = 3", "home = 3 is not a text"),
    ("worker = 3", "worker = 3 is not a table"),
    ("[retry]\nbase_s = 'soon'", "retry.base_s = 'soon' is not a number"),
    ("[retry]\nattempts = 0", "retry.attempts = 0 is out of range"),
    ("[retry]\nbase_s = nan", "retry.base_s = nan is out of range"),
    ("[worker]\nheartbeat_s = 1", "worker.heartbeat_s = 1.0 is out of range"),
    ("[limits]\nbodies_bytes_max = 5", "limits.bodies_bytes_max = 5 is out of range"),
    ("[storage]\nspool_bytes_max = 5", "storage.spool_bytes_max = 5 is out of range"),
    ("[storage]\nlost_after_s = 0", "storage.lost_after_s = 0.0 is out of range"),
    ("[http]\npublic_url = 'javascript:x'", "http.public_url = 'javascript:x' is out of range"),
    ("[cache]\nmode = 'on'", "cache.mode = 'on' is out of range"),
    ("providers = 3", "providers = 3 is not a table"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_values_name_place_and_wish(text: str, message: str) -> None:
    """A value of the wrong type or size is shown with its name, its line and what is wanted."""
    error = refused(text)
    assert message in error.message
    assert re.fullmatch(r"headrace\.toml \(line \d\)", error.place)
    assert error.remedy


def test_wrong_variables_are_named() -> None:
    """A bad value from the environment is blamed on its variable, not on the file."""
    error = refused("[worker]\nshards_held = 3", {"HEADRACE_WORKER__SHARDS_HELD": "many"})
    assert error.place == "HEADRACE_WORKER__SHARDS_HELD"
    assert "'many' is not a whole number" in error.message


@pytest.mark.parametrize("text", ["x = [", "a = 1\na = 2", "\x00"])
def test_broken_files_are_config_errors(text: str) -> None:
    """A file that is no TOML is refused with the parser's line."""
    assert "not valid TOML" in refused(text).message


def test_variables_that_are_no_settings_are_left_alone() -> None:
    """What Kubernetes sets beside a service named headrace, and empty values, disturb nobody."""
    env = {
        "HEADRACE_PORT": "tcp://10.0.0.1:80",
        "HEADRACE_PORT_80_TCP_ADDR": "10.0.0.1",
        "HEADRACE_SERVICE_HOST": "10.0.0.1",
        "HEADRACE_SERVICE_PORT_HTTP": "80",
        "HEADRACE_CRASH_AT": "after-send",
        "HEADRACE_BLOB_URL": "",
        "PATH": "/bin",
    }
    assert load(env=env) == Config()


def test_texts_from_variables_stay_texts() -> None:
    """A text setting or a key that looks like a number is not turned into one."""
    env = {
        "HEADRACE_HOME": "123",
        "HEADRACE_PROVIDERS__MINE__API_KEY": "0042",
        "HEADRACE_PROVIDERS__MINE__CONCURRENCY": "8",
        "HEADRACE_PROVIDERS__MINE__FAST": "true",
    }
    config = load("[providers.mine]\nregion = 'eu'", env)
    assert config.home == "123"
    assert config.providers == {
        "mine": {"region": "eu", "api_key": "0042", "concurrency": 8, "fast": True}
    }


def settings_of(kind: type, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for field in msgspec.structs.fields(kind):
        here = (*above, field.name)
        default = field.default
        if isinstance(default, msgspec.Struct):
            found |= settings_of(type(default), here)
        elif field.name not in FREE_TABLES:
            found[here] = default
    return found


def test_the_written_file_has_every_setting_with_its_default() -> None:
    """`headrace init` writes each setting, with its default, under its table, and explained."""
    text = default_config_text()
    assert load(text) == Config(), "as written, it changes nothing"
    uncommented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    tree = tomllib.loads(uncommented)
    for keys, default in settings_of(Config).items():
        value: Any = tree
        for key in keys:
            assert key in value, f"{'.'.join(keys)} is not in the file"
            value = value[key]
        assert default is None or value == default, f"{'.'.join(keys)} has another default"
    known = {keys[0] for keys in settings_of(Config)} | set(FREE_TABLES)
    assert set(tree) - known <= {"latency_s", "concurrency", "cost_microusd", "failures"}


def test_every_setting_is_explained() -> None:
    """Above each setting, or the group it stands in, is a line that says what it is for."""
    lines = default_config_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"# \w+ = ", line):
            above = lines[number - 1]
            assert above.startswith("# "), f"line {number + 1}: {line}"
