"""``providers list`` and ``providers check``: what is configured, and whether its key works."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.speaking import says, speaking
from tests.integration.test_cli_run import Shell

KEY = "sk-very-secret-0123456789"
LIMITS = {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499"}


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Shell:
    return Shell(tmp_path, database_url)


def settings(shell: Shell, text: str) -> None:
    """Write the settings."""
    (shell.folder / "headrace.toml").write_text(text)


async def test_the_list_says_what_is_known_and_shows_no_key(shell: Shell) -> None:
    """Address, key, class and told limits stand in a line; a wrong table does not hide the rest."""
    settings(
        shell,
        f"""
        [providers.mine]
        kind = "openai"
        api_key = "{KEY}"
        limits = {{ requests_per_minute = 500, concurrency = 7 }}
        [providers.bare]
        kind = "imejis"
        [providers.odd]
        kind = "opneai"
        """,
    )
    told = await shell("providers", "list")
    assert told.code == 0, told.err
    lines = {line.split()[0]: line for line in told.out.splitlines() if line.strip()}
    assert "https://api.openai.com/v1" in lines["mine"]
    assert " set " in lines["mine"]
    assert "500 requests/min; 7 in flight" in lines["mine"]
    assert " missing " in lines["bare"]
    assert "there is no provider kind 'opneai'" in lines["odd"]
    assert "this machine" in lines["template"]
    assert "http, imejis, openai" in told.out
    assert KEY not in told.out + told.err
    found = (await shell("providers", "list", "--json")).json["providers"]
    assert {one["name"]: one["key"] for one in found}["mine"] is True
    assert KEY not in str(found)


async def test_a_key_is_tried_without_buying(shell: Shell) -> None:
    """A key that works tells the limits that were announced; unknown prices are unknown."""
    async with speaking(says({"data": []}, headers=LIMITS)) as speaker:
        settings(
            shell,
            f'[providers.mine]\nkind = "openai"\nbase_url = "{speaker.url}"\napi_key = "{KEY}"',
        )
        told = await shell("providers", "check", "mine", "--model", "x-1")
    assert [(heard.method, heard.path) for heard in speaker.heard] == [("GET", "/v1/models")]
    assert told.code == 0, told.err
    assert "the key works" in told.out
    assert told.err == "", "connections that were opened are closed"
    assert "500 requests" in told.out
    assert "499 left" in told.out
    assert "a call costs at most unknown" in told.out


async def test_a_key_that_is_rejected_fails_with_the_remedy(shell: Shell) -> None:
    """Scripts see it by the exit code, people by the words; the key is in neither."""
    said = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}
    async with speaking(says(said, 401)) as speaker:
        settings(
            shell,
            f'[providers.mine]\nkind = "openai"\nbase_url = "{speaker.url}"\napi_key = "{KEY}"',
        )
        told = await shell("providers", "check", "mine")
    assert told.code == 1
    assert "Incorrect API key" in told.out
    assert "→" in told.out
    assert KEY not in told.out + told.err


async def test_every_table_is_checked_although_one_is_wrong(shell: Shell) -> None:
    """What is wrong is said with its place, and the providers after it are tried all the same."""
    async with speaking(says({"object": "list", "data": []})) as speaker:
        settings(
            shell,
            f"""
            [providers.a]
            kind = "opneai"
            [providers.b]
            kind = "openai"
            limits = {{ requests_per_minute = "many" }}
            [providers.c]
            kind = "openai"
            base_url = "{speaker.url}"
            api_key = "{KEY}"
            """,
        )
        told = await shell("providers", "check", "a", "b", "c")
    assert told.code == 1
    assert [text.split()[1] for text in told.out.splitlines() if "→" not in text] == [
        "a:",
        "b:",
        "c:",
    ]
    assert "Did you mean 'openai'" in told.out
    assert "providers.b" in told.out
    assert "the key works" in told.out


async def test_a_missing_key_and_a_wrong_name_are_told(shell: Shell) -> None:
    """Nothing is called without a key; a name that is not there is told its nearest."""
    settings(shell, '[providers.mine]\nkind = "imejis"')
    told = await shell("providers", "check", "mine")
    assert told.code == 1
    assert "IMEJIS_API_KEY" in told.out
    told = await shell("providers", "check", "mien")
    assert told.code != 0
    assert "Did you mean 'mine'" in told.err
