"""The promises of every provider, tried at a server that a test words or at a simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from headrace.provider import Provider
from headrace.simulator.server import Simulator
from headrace.simulator.settings import LatencySettings, Settings
from headrace.testing.conformance import ProviderConformance
from tests.integration.speaking import Heard, Speaker, speaking


class SpokenConformance(ProviderConformance):
    """Over a real connection: ``refusal`` answers prompts with that word, ``result`` all others."""

    made = 0
    refusal = b""

    @pytest.fixture(autouse=True)
    async def _spoken(self) -> AsyncIterator[None]:
        async with speaking(self.answer) as speaker:
            self.speaker = speaker
            yield

    async def make_provider(self) -> Provider:
        return self.calling(self.speaker)

    def calling(self, speaker: Speaker) -> Provider:
        """The provider that calls the server."""
        raise NotImplementedError

    def result(self, number: int) -> bytes:
        """A response that was bought, the first or a later one."""
        raise NotImplementedError

    async def answer(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        if b"refuse" in heard.body:
            writer.write(self.refusal)
            return
        self.made += 1
        writer.write(self.result(self.made))

    def purchases(self, provider: Provider) -> int | None:
        return self.made


class RehearsedConformance(ProviderConformance):
    """Against the simulator in the provider's shape."""

    shape = ""

    @pytest.fixture(autouse=True)
    async def _simulated(self) -> AsyncIterator[None]:
        latency = LatencySettings(median_s=0.0)
        settings = Settings(shapes=(self.shape,), latency=latency, refuse_word="refuse")
        self.simulator = Simulator(settings)
        await self.simulator.start()
        yield
        await self.simulator.close()

    async def make_provider(self) -> Provider:
        return self.calling(self.simulator.url)

    def calling(self, url: str) -> Provider:
        """The provider that calls the simulator."""
        raise NotImplementedError

    def purchases(self, provider: Provider) -> int | None:
        return self.simulator.truth.total
