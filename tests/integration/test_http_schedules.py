"""``/api/schedules`` over a real socket: added, shown, moved, made by the server's own worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.http.schedule_shapes import ScheduleShape, TickPage
from tests.integration.test_http import Served, served

ROOT = Path(__file__).parents[2]
BLURB = """
[columns]
required = ["title", "brand"]
[[stages]]
name = "text"
kind = "generate"
model = "scripted:any"
prompt = "Describe {{ title }} by {{ brand }}."
"""
NIGHT = {"name": "night", "cron": "30 2 * * *", "recipe": "words", "file": "rows.csv"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    folder = tmp_path / "inputs"
    (folder / "default").mkdir(parents=True)
    (folder / "default" / "rows.csv").write_text("t\na\nb\n")
    shop = {"url": database_url, "tenants": ["other"]}
    told = {"folder": str(folder), "databases": {"shop": shop}}
    async with served(database_url, tmp_path, schedules=told) as one:
        yield one


async def made(api: Served, **more: Any) -> dict[str, Any]:
    status, told = await api("POST", "/api/schedules", "submit", NIGHT | more)
    assert status == 201, told
    msgspec.convert(told, ScheduleShape)
    return dict(told)


async def ended_tick(api: Served, path: str) -> dict[str, Any]:
    """Wait until the latest tick and its batch have ended, moved by the server's own worker."""
    while True:
        _, page = await api("GET", f"{path}/ticks", "read")
        msgspec.convert(page, TickPage)
        tick = page["ticks"][0]
        batch = tick["batch"]
        if tick["state"] != "due" and (batch is None or batch["state"] == "completed"):
            return dict(tick)
        await asyncio.sleep(0)


async def test_a_schedule_is_added_shown_and_listed(api: Served) -> None:
    """What was told is shown, with the defaults and the next tick; paths are the tenant's own."""
    one = await made(api, timezone="Europe/Berlin", windows=["22:00-06:00=30%"], share="50%")
    told = {"name": "night", "file": "rows.csv", "state": "active", "class": "bulk"}
    assert told.items() <= one.items()
    assert (one["windows"], one["share"], one["missed"]) == (["22:00-06:00=30%"], "50%", "latest")
    assert one["next_at"].endswith(("00:30:00+00:00", "01:30:00+00:00"))
    assert (await api("GET", f"/api/schedules/{one['id']}", "read"))[1] == one
    assert (await api("GET", "/api/schedules", "read"))[1] == {"schedules": [one]}


async def test_a_tick_by_hand_is_made_by_the_worker_and_hits_on_demand(api: Served) -> None:
    """Run now, its rows become results; the same asked for on demand is a hit."""
    one = await made(api)
    path = f"/api/schedules/{one['id']}"
    status, tick = await api("POST", f"{path}/run-now", "submit")
    assert (status, tick["by_hand"]) == (202, True)
    tick = await ended_tick(api, path)
    assert (tick["state"], tick["read"], tick["new"]) == ("made", 2, 2)
    assert tick["batch"]["counts"]["succeeded"] == 2
    body = {"recipe": "words", "row": {"t": "a"}}
    assert (await api("POST", "/api/generate", "submit", body))[1]["cached"]
    assert (await api("POST", f"{path}/run-now", "submit"))[0] == 202
    assert (await ended_tick(api, path))["state"] == "empty"
    _, page = await api("GET", f"{path}/ticks?limit=1", "read")
    _, rest = await api("GET", f"{path}/ticks?before={page['next'].replace('+', '%2B')}", "read")
    assert [one["state"] for one in rest["ticks"]] == ["made"]
    assert sorted(api.scripted.prompts) == ["a", "b"]


async def test_products_made_beforehand_are_hits_however_they_are_asked_for(
    api: Served, tmp_path: Path
) -> None:
    """What docs/schedules.md shows: a row of examples/products.csv, by recipe and by prompt."""
    products = (ROOT / "examples" / "products.csv").read_bytes()
    (tmp_path / "inputs" / "default" / "products.csv").write_bytes(products)
    (tmp_path / "recipes" / "blurb.toml").write_text(BLURB)
    one = await made(api, recipe="blurb", file="products.csv", key=["sku"], rows_max=5)
    path = f"/api/schedules/{one['id']}"
    await api("POST", f"{path}/run-now", "submit")
    tick = await ended_tick(api, path)
    assert (tick["new"], tick["more_next_time"]) == (5, True)
    row = {"title": "Summit Boot Mid", "brand": "Northwind"}
    by_recipe = {"recipe": "blurb", "row": row}
    by_prompt = {"model": "scripted:any", "prompt": "Describe Summit Boot Mid by Northwind."}
    for body in (by_recipe, by_prompt):
        assert (await api("POST", "/api/generate", "submit", body))[1]["cached"], body
    assert len(api.scripted.prompts) == 5


async def test_a_schedule_is_paused_resumed_and_removed(api: Served) -> None:
    """Paused, no tick is to come; resumed, one is; removed, it is not there."""
    path = f"/api/schedules/{(await made(api))['id']}"
    _, told = await api("POST", f"{path}/pause", "submit")
    assert (told["state"], told["next_at"]) == ("paused", None)
    _, told = await api("POST", f"{path}/resume", "submit")
    assert told["state"] == "active"
    assert told["next_at"]
    assert (await api("DELETE", path, "submit"))[0] == 204
    assert (await api("GET", path, "read"))[0] == 404


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"cron": "often"}, "cron expression"),
        ({"cron": "\0 * * * *"}, "cron expression"),
        ({"timezone": "Mars"}, "timezone"),
        ({"recipe": "nothing"}, "nothing"),
        ({"recipe": "../x.toml"}, "name of one"),
        ({"file": "/etc/passwd"}, "below your folder"),
        ({"file": "../other/x.csv"}, "below your folder"),
        ({"folder": "also"}, "one of a file"),
        ({"file": 3}, "wrong type"),
        ({"name": ""}, "printable"),
        ({"name": "a\0b"}, "printable"),
        ({"rows_max": True}, "wrong type"),
        ({"windows": ["night"]}, "no window"),
        ({"windows": [3]}, "list of"),
        ({"max_cost_usd": "much"}, ""),
        ({"key": [["a"]]}, "list of"),
        ({"every": "day"}, "unknown key"),
        ({"file": "", "query": "SELECT 1", "database": "shop"}, "no database"),
    ],
)
async def test_what_cannot_be_a_schedule_is_refused(
    api: Served, told: dict[str, Any], words: str
) -> None:
    """Bad input is an error that says what is wrong; another tenant's database is not there."""
    status, said = await api("POST", "/api/schedules", "submit", NIGHT | told)
    assert status in (400, 404, 422), said
    assert words in said["detail"] + said.get("remedy", ""), said
    assert (await api("GET", "/api/schedules", "read"))[1] == {"schedules": []}


async def test_scopes_are_kept(api: Served) -> None:
    """A key that only reads adds, moves and removes nothing."""
    one = await made(api)
    path = f"/api/schedules/{one['id']}"
    assert (await api("POST", "/api/schedules", "read", NIGHT))[0] == 403
    for verb, at in (("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/run-now")):
        assert (await api(verb, path + at, "read"))[0] == 403
    assert (await api("POST", "/api/schedules", "submit", NIGHT))[0] == 409
    assert (await api("GET", "/api/schedules/sch_nonsense", "read"))[0] == 404
