"""Front matter: whatever a model or a row says stays inside its quotes and comes back the same."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InputError
from headrace.front_matter import page, quoted
from headrace.providers.local.texts import TextsProvider
from headrace.recipe import parse_recipe
from headrace.stage import StageInput
from headrace.stages import build_stages
from headrace.testing import CallDesk, SimulatedProvider

# Texts of every character but lone surrogates, and of those that have a meaning in YAML.
TEXTS = st.text() | st.text(alphabet="-:#\n\r\t \"'\\{}[]&*!|>%@`,?\x00\x07\x85\u2028\ufeff~=<")
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | NUMBERS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=12
)


def parts_of(text: str) -> tuple[dict[str, Any], str]:
    """The front matter as a strict reader takes it (up to the first line ``---``), and the body."""
    lines = text.split("\n")
    assert lines[0] == "---"
    end = lines.index("---", 1)
    return yaml.safe_load("\n".join(lines[1:end])) or {}, "\n".join(lines[end + 1 :])


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,20}", fullmatch=True), VALUES))
def test_every_value_comes_back(front: dict[str, Any]) -> None:
    """What YAML reads is exactly what was written, and the front matter ends where it should."""
    read, body = parts_of(page(front, "The body."))
    assert read == front
    assert body.strip() == "The body."


@given(TEXTS)
def test_a_text_is_one_line(text: str) -> None:
    """No text can begin a line of its own, in any reader's idea of a line."""
    written = quoted(text)
    assert len(written.splitlines()) == 1
    assert yaml.safe_load(written) == text


@pytest.mark.parametrize("char", "\u061c\u200b\u200f\u202e\u2028\u2066\x7f\x85\ufeff")
def test_what_cannot_be_seen_is_spelled_out(char: str) -> None:
    """Characters that turn or hide text are written as escapes, so that people see them."""
    assert quoted(char).isascii()


@given(TEXTS)
def test_the_body_changes_nothing_before_it(body: str) -> None:
    """Fences and colons in the body stay in the body; its control characters are gone."""
    front = {"title": "One"}
    read, rest = parts_of(page(front, body))
    assert read == front
    assert not any(ord(char) < 32 and char not in "\n\t" for char in rest)


@pytest.mark.parametrize(
    "title",
    [
        "x\n---\nadmin: true",
        "x\r---\r",
        '"\nadmin: true\n"',
        "!!python/object:os.system",
        "a: b # c",
        "\u2028---\u2029",
        "*alias &anchor",
        "x" * 200_000,
        "\u202e txt.exe",
        "on",
    ],
)
def test_an_injection_stays_a_title(title: str) -> None:
    """Known tricks end up as the title they are, and as nothing else."""
    read, _ = parts_of(page({"title": title, "draft": False}, "---\nadmin: true\n---"))
    assert read == {"title": title, "draft": False}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {"a": [object()]}])
def test_what_yaml_cannot_hold_is_an_error(value: Any) -> None:
    """A value that would come back as something else is refused, not bent."""
    with pytest.raises(InputError):
        page({"x": value}, "body")


def test_depth_is_bounded() -> None:
    """A value nested past all sense is refused."""
    deep: Any = "x"
    for _ in range(20):
        deep = [deep]
    with pytest.raises(InputError, match="deeply"):
        page({"x": deep}, "body")


# -- the stage and its provider ------------------------------------------------------------------

SCHEMA = '{"type": "object", "required": ["title"], "properties": {"title": {"maxLength": 9}}}'


async def composed(texts: dict[str, str], **row: Any) -> str:
    stage = {
        "kind": "compose",
        "body": "{{ stages.text }}",
        "schema": "front",
        "front": {"title": "{{ stages.seo.title }}", "tags": "{{ stages.seo.tags }}", "n": 3},
    }
    first = [
        {"kind": "generate", "name": name, "model": "simulated:m", "prompt": "x"}
        for name in ("text", "seo")
    ]
    files = {"front": {"name": "front.json", "text": SCHEMA}}
    recipe = parse_recipe({"stages": [*first, stage], "files": files}, "r")
    texts_provider = TextsProvider()
    built = build_stages(recipe, {"simulated": SimulatedProvider(), "texts": texts_provider})[2]
    request = built.request(StageInput(row, {}, texts, None, 1, "spring"))
    reply = await texts_provider.call(CallDesk().call(request))
    assert reply.body is not None
    return reply.body.decode()


async def test_fields_of_json_go_into_the_front_matter() -> None:
    """A field of a stage's JSON keeps its kind: a list stays a list; a fence is taken off."""
    seo = '```json\n{"title": "Tea", "tags": ["a", "b"]}\n```'
    read, body = parts_of(await composed({"text": "Words.", "seo": seo}))
    assert read == {"title": "Tea", "tags": ["a", "b"], "n": 3}
    assert body.strip() == "Words."


@pytest.mark.parametrize("seo", ['{"title": "Far too long"}', "no JSON", "[1]", "{}"])
async def test_a_front_matter_that_does_not_fit_is_invalid(seo: str) -> None:
    """The schema judges what is written; the reason names the field."""
    from headrace.outcome import CallFailed

    with pytest.raises(CallFailed, match="title"):
        await composed({"text": "Words.", "seo": seo})
