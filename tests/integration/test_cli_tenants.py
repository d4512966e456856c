"""``tenants``, ``plans`` and ``keys`` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_cli_run import Shell


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Shell:
    return Shell(tmp_path, database_url)


async def test_a_plan_is_set_and_given_to_a_tenant(shell: Shell) -> None:
    """What is told of a plan changes, the rest stays; the tenant shows under its new plan."""
    set_gold = ("plans", "set", "gold", "--json")
    told = (await shell(*set_gold, "--weight", "3", "--daily-items", "1_000", "--calls", "2")).json
    assert (told["weight"], told["daily_items_max"], told["class"]) == (3, 1000, "interactive")
    assert told["calls_max"] == 2
    told = (
        await shell("plans", "set", "gold", "--daily-items", "none", "--class", "bulk", "--json")
    ).json
    assert (told["weight"], told["daily_items_max"], told["class"]) == (3, None, "bulk")
    made = await shell("tenants", "create", "acme", "--timezone", "Asia/Tokyo", "--plan", "gold")
    assert made.code == 0, made.err
    assert (await shell("tenants", "set-plan", "acme", "default")).code == 0
    listed = (await shell("tenants", "list", "--json")).json
    assert [(one["id"], one["plan"]) for one in listed] == [
        ("default", "default"),
        ("acme", "default"),
    ]
    assert "gold" in (await shell("plans", "list")).out
    bad = await shell("plans", "set", "gold", "--weight", "heavy")
    assert (bad.code, "whole number" in bad.err) == (2, True)
    assert (await shell("plans", "show", "silver")).code == 2


async def test_a_days_credits_are_capped(shell: Shell) -> None:
    """By the plan or for one tenant, in credits; the tenant shows with what it has used."""
    told = (await shell("plans", "set", "gold", "--daily-credits", "12.5", "--json")).json
    assert told["daily_microcredits_max"] == 12_500_000
    await shell("tenants", "create", "acme", "--plan", "gold")
    assert "of 12.5 credits" in (await shell("tenants", "show", "acme")).out
    assert (await shell("tenants", "set-daily-credits", "acme", "0")).code == 0
    told = (await shell("tenants", "show", "acme", "--json")).json
    assert (told["daily_microcredits_max"], told["today"]["microcredits_max"]) == (0, 0)
    assert (await shell("tenants", "set-daily-credits", "acme", "plan")).code == 0
    told = (await shell("plans", "set", "gold", "--daily-credits", "none", "--json")).json
    assert told["daily_microcredits_max"] is None
    assert "0 credits, 0 items" in (await shell("tenants", "show", "acme")).out
    assert (await shell("tenants", "set-daily-credits", "acme", "much")).code == 2
    assert (await shell("tenants", "show", "nobody")).code == 2


async def test_a_suspended_tenant_is_told_why(shell: Shell) -> None:
    """The list has the reason, until it is resumed."""
    await shell("tenants", "create", "acme")
    assert (await shell("tenants", "suspend", "acme", "--reason", "unpaid")).code == 0
    assert "unpaid" in (await shell("tenants", "list")).out
    assert (await shell("tenants", "resume", "acme")).code == 0
    assert "unpaid" not in (await shell("tenants", "list")).out
    assert (await shell("tenants", "resume", "nobody")).code == 2


async def test_a_key_is_rotated(shell: Shell) -> None:
    """The new key is shown once; the old one stands in the list as replaced."""
    await shell("tenants", "create", "acme")
    made = (
        await shell("keys", "create", "shop", "--tenant", "acme", "--expires", "90d", "--json")
    ).json
    new = (await shell("keys", "rotate", made["id"], "--grace", "1h", "--json")).json
    assert new["key"] != made["key"]
    assert new["tenant"] == "acme"
    states = [
        key["state"] for key in (await shell("keys", "list", "--tenant", "acme", "--json")).json
    ]
    assert states == ["replaced", "good"]
    assert (await shell("keys", "rotate", made["shown"])).code == 2
    assert (await shell("keys", "revoke", new["id"])).code == 0
    assert (await shell("keys", "create", "x", "--expires", "soon")).code == 2
    assert (await shell("keys", "create", "x", "--expires", "2001-01-01")).code == 2


async def test_the_master_key_is_made_and_rotated(shell: Shell) -> None:
    """Also where no key of a provider is kept yet; one without an owner is refused."""
    first = (await shell("keys", "rotate-master", "--json")).json
    again = (await shell("keys", "rotate-master", "--json")).json
    assert first["master"] != again["master"]
    assert (await shell("keys", "provider-set", "simulated")).code == 2
    assert (await shell("keys", "provider-list", "--json")).json == []
    assert (await shell("keys", "provider-remove", "simulated", "--shared")).code == 2
