"""The master key: made once, for its owner's eyes; and what it seals opens for one purpose only."""

from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.errors import ConfigError
from headrace.master_key import FILE, VARIABLE, MasterKeys
from headrace.sealing import new_master, read_master, seal, unseal

ABOUT: list[str | None] = ["provider key", "acme", "sim"]


def test_what_is_sealed_opens_for_its_owner_and_purpose_only() -> None:
    """Another key, tenant or provider, a changed byte, or no bytes at all: nothing opens."""
    master = new_master()
    body = seal(master, "sk-secret", ABOUT)
    assert unseal(master, body, ABOUT) == "sk-secret"
    assert b"sk-secret" not in body
    changed = body[:-1] + bytes([body[-1] ^ 1])
    others: list[list[str | None]] = [
        ["provider key", "other", "sim"],
        ["provider key", "acme", "mis"],
        ["provider key", None, "sim"],
    ]
    for about in others:
        with pytest.raises(ConfigError):
            unseal(master, body, about)
    for wrong in (changed, b"", body[:5], body[:20]):
        with pytest.raises(ConfigError):
            unseal(master, wrong, ABOUT)
    with pytest.raises(ConfigError):
        unseal(new_master(), body, ABOUT)


def test_the_same_secret_is_never_sealed_alike() -> None:
    """Who compares rows does not learn that two keys are one."""
    master = new_master()
    assert len({seal(master, "sk", ABOUT) for _ in range(50)}) == 50


def test_no_master_key_is_ever_shown() -> None:
    """Neither the object nor an error says it."""
    master = new_master()
    assert master.to_text() not in repr(master)
    assert repr(master.key) not in repr(master)
    text = base64.b64encode(b"x" * 31).decode()
    with pytest.raises(ConfigError) as caught:
        read_master(text, VARIABLE)
    assert text not in str(caught.value)


def test_the_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """Of many who come at once all have the same, in a file that others cannot read."""
    home = tmp_path / "home"
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: MasterKeys(home, {}).current().id, range(64)))
    assert len(set(made)) == 1
    assert stat.S_IMODE((home / FILE).stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == [FILE]


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """A key that was open to all is said to be so, not used."""
    MasterKeys(tmp_path, {}).current()
    (tmp_path / FILE).chmod(0o640)
    with pytest.raises(ConfigError, match="may read"):
        MasterKeys(tmp_path, {}).current()


def test_a_new_key_stands_before_the_old_until_that_is_not_needed(tmp_path: Path) -> None:
    """Whoever dies in the middle of a rotation leaves both."""
    masters = MasterKeys(tmp_path, {})
    old = masters.current()
    new = masters.put_before()
    assert masters.current() == new
    assert masters.find(old.id) == old
    assert masters.drop_unused({old.id}) == 0
    assert masters.drop_unused(set()) == 1
    with pytest.raises(ConfigError, match=old.id):
        masters.find(old.id)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_the_variable_counts_before_the_file(tmp_path: Path) -> None:
    """It holds one or several; a word that is no key is an error, and no file is made."""
    first, second = new_master(), new_master()
    plain = base64.b64encode(second.key).decode()
    masters = MasterKeys(tmp_path, {VARIABLE: f"{first.to_text()}, {plain}"})
    assert masters.current() == first
    assert masters.find(second.id) == second
    with pytest.raises(ConfigError):
        MasterKeys(tmp_path, {VARIABLE: "hunter2"}).current()
    assert list(tmp_path.iterdir()) == []
