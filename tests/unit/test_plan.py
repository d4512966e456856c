"""Plans as they are told, the sizes that requests name, and the digests that rows do."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.asked_size import pixels_asked
from headrace.errors import InputError
from headrace.named_artifacts import own_only
from headrace.plan import Plan, check_id, read_plan
from headrace.recipe import parse_recipe
from headrace.source import BadRow


def test_a_plan_is_laid_over_the_one_before() -> None:
    """What is told changes, ``None`` ends a limit, all else stays."""
    before = read_plan("free", {"class": "bulk", "daily_items_max": 20, "watermark": "Trial"})
    after = read_plan("free", {"daily_items_max": None, "weight": 3}, before)
    assert after == Plan("free", class_name="bulk", weight=3, watermark="Trial")
    assert after.to_json()["class"] == "bulk"


@pytest.mark.parametrize(
    "told",
    [
        {"class": "vip"},
        {"weight": 0},
        {"weight": 101},
        {"weight": None},
        {"daily_items_max": -1},
        {"daily_items_max": True},
        {"batches_max": "3"},
        {"pixels_max": 0},
        {"waiting_max": 2**40},
        {"calls_max": 0},
        {"calls_max": 1.5},
        {"watermark": ""},
        {"watermark": "two\nlines"},
        {"watermark": "{{ title }}"},
        {"watermark": 7},
        {"name": "other"},
        {"nothing": 1},
    ],
)
def test_a_bad_plan_is_refused(told: dict[str, Any]) -> None:
    """Each value that no plan can have is named."""
    with pytest.raises(InputError):
        read_plan("free", told)


@pytest.mark.parametrize("text", ["", "A", "-a", "a b", "a/b", "a" * 64, "ä", "a\0"])
def test_ids_are_words_that_fit_everywhere(text: str) -> None:
    """The id of a tenant stands in paths and in names of lanes."""
    with pytest.raises(InputError):
        check_id(text, "an id")


def test_a_class_above_the_plans_becomes_the_plans() -> None:
    """A plan lowers what is asked for, and never lifts it."""
    plan = Plan("p", class_name="batch")
    assert [plan.lowered(name) for name in ("interactive", "batch", "bulk")] == [
        "batch", "batch", "bulk",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("params", "pixels"),
    [
        ({"size": "1024x1536"}, 1024 * 1536),
        ({"size": " 512 X 512 "}, 512 * 512),
        ({"width": 800, "height": "600"}, 480_000),
        ({"input": {"width": 4000.0, "height": 4000}}, 16_000_000),
        ({"image_size": {"width": 100, "height": 50}}, 5000),
        ({"image_size": "square_hd"}, 1024 * 1024),
        ({"image_config": {"image_size": "4K"}}, 4096 * 4096),
        ({"resolution": "1080p", "size": "10x10"}, 1920 * 1080),
        ({"megapixels": "0.25 MP"}, 250_000),
        ({"width": 800}, None),
        ({"width": float("nan"), "height": 3}, None),
        ({"width": float("inf"), "height": 3}, None),
        ({"width": True, "height": True}, None),
        ({"size": "large", "prompt": "a 9000x9000 mill"}, None),
        ({"size": ["1x1"], "input": "1x1"}, None),
        ({}, None),
    ],
)
def test_a_size_is_read_as_apis_have_it(params: dict[str, Any], pixels: int | None) -> None:
    """The most that is named counts; what is no size is none."""
    assert pixels_asked(params) == pixels


async def test_only_what_goes_in_as_a_picture_is_an_artifact_that_is_named() -> None:
    """A digest in another cell is a text like any other; a row that names a foreign one is bad."""
    stage = {
        "kind": "generate", "model": "x:y", "prompt": "{{ note }}",
        "sources": {"image": "{{ picture }}", "more": ["sha256:{{ short }}"]},
    }  # fmt: skip
    recipe = parse_recipe({"name": "r", "stages": [stage]}, "test")
    one, two, three = (digit * 64 for digit in "abc")
    rows: list[dict[str, Any]] = [
        {"note": f"sha256:{three}", "picture": "mill.png"},
        {"picture": f"sha256:{one}", "short": two},
        {"picture": f" sha256:{one} "},
        {"picture": f"sha256:{one.upper()}"},
    ]
    asked: list[set[bytes]] = []

    async def foreign(tenant_id: str, sha256s: set[bytes]) -> set[bytes]:
        asked.append(sha256s)
        return {bytes.fromhex(two)}

    kept = list(await own_only(rows, recipe, "acme", foreign))
    assert asked == [{bytes.fromhex(one), bytes.fromhex(two)}]
    assert [row for row in kept if not isinstance(row, BadRow)] == [rows[0], *rows[2:]]
    assert isinstance(kept[1], BadRow)
    assert (kept[1].number, kept[1].values) == (2, rows[1])
