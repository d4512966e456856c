"""``keys create``, ``list`` and ``revoke``: a key is shown once and never whole again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_cli_run import Shell


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Shell:
    return Shell(tmp_path, database_url)


async def test_a_key_is_made_listed_and_revoked(shell: Shell) -> None:
    """The list knows a key by its first characters; a revoked one stays in it."""
    made = (await shell("keys", "create", "shop", "--scope", "read", "--days", "7", "--json")).json
    assert made["key"].startswith("hr_")
    assert len(made["key"]) > 40
    told = await shell("keys", "list")
    assert "shop" in told.out
    assert "good" in told.out
    assert made["key"] not in told.out
    assert (await shell("keys", "revoke", made["shown"])).code == 0
    assert "revoked" in (await shell("keys", "list")).out
    told = await shell("keys", "revoke", made["shown"])
    assert told.code == 2
    assert "no good key begins" in told.err
