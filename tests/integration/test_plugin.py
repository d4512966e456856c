"""The example of a plug-in is found by its entry point and keeps a provider's promises."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.errors import ConfigError
from headrace.outcome import CallFailed, OutcomeKind
from headrace.provider import Provider
from headrace.providers.shelf import Shelf
from headrace.request import Request
from headrace.testing import CallDesk
from headrace.testing.conformance import ProviderConformance
from tests.integration.speaking import Heard, says, speaking

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"
KEY = "sk-very-secret-0123456789"
POEM = {"poem": "the wheel stands still\nupstream a child lets go\nof a paper boat"}


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package as an installer lays it down: its code, and its entry points beside it."""
    import tomllib

    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = tmp_path / "headrace_haiku-0.1.0.dist-info"
    info.mkdir()
    points = project["entry-points"]["headrace.providers"]
    lines = [f"{name} = {place}" for name, place in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[headrace.providers]", *lines]))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headrace-haiku\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(PLUGIN / "src"))
    yield
    sys.modules.pop("headrace_haiku", None)


def poems(base_url: str, **more: Any) -> Provider:
    """The provider, as a recipe would name it."""
    tables = {"poems": {"kind": "haiku", "base_url": base_url, "api_key": KEY, **more}}
    return Shelf(tables, (), SystemClock())["poems"]


def request(number: int) -> Request:
    """A poem on a theme."""
    return Request("poems", "quiet", "1", {"prompt": f"mill {number}"})


async def test_the_kind_is_there_and_writes_a_poem() -> None:
    """An entry point is all that a plug-in needs to be named in a table."""
    assert "haiku" in Shelf.kinds()
    async with speaking(says(POEM, headers={"x-request-id": "r-1"})) as speaker:
        provider, desk = poems(speaker.url), CallDesk()
        reply = await provider.call(desk.call(request(1)))
        await provider.close()
    assert speaker.heard[0].json == {"mood": "quiet", "theme": "mill 1"}
    assert desk.body_of(reply).decode() == POEM["poem"]
    assert reply.provider_request_id == "r-1"


async def test_its_errors_are_read_like_any_others() -> None:
    """What the base class brings holds: classes, waits, and no key in a message."""
    said = {"error": {"message": f"slow down, {KEY}"}}
    async with speaking(says(said, 429, {"retry-after": "7"})) as speaker:
        provider = poems(speaker.url)
        with pytest.raises(CallFailed) as caught:
            await provider.call(CallDesk().call(request(1)))
        await provider.close()
    outcome = caught.value.outcome
    assert (outcome.kind, outcome.wait_s) == (OutcomeKind.RATE_LIMITED, 7.0)
    assert KEY not in outcome.reason


def test_its_table_is_checked() -> None:
    """A wrong key of the table is named with its nearest."""
    with pytest.raises(ConfigError, match="Did you mean 'base_url'"):
        Shelf({"poems": {"kind": "haiku", "base_ur": "x"}}, (), SystemClock())["poems"]


class TestHaikuConformance(ProviderConformance):
    """The suite, on the plug-in."""

    @pytest.fixture(autouse=True)
    async def _speaker(self) -> Any:
        async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
            refuses = b"mill 666" in heard.body
            await (says({"error": "bad theme"}, 400) if refuses else says(POEM))(heard, writer)

        async with speaking(answer) as speaker:
            self.url = speaker.url
            yield

    async def make_provider(self) -> Provider:
        return poems(self.url)

    def make_request(self, provider: Provider, number: int) -> Request:
        return request(number)

    async def make_failing(self, provider: Provider) -> Request | None:
        return request(666)
