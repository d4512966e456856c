"""The adapters of this package against the conformance suites, and the suites against bad ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import count, islice
from typing import Any

import pytest

from headrace.cache import Cache, CacheHit
from headrace.gate import Gate
from headrace.gates.local import LocalGate
from headrace.outcome import OutcomeKind
from headrace.provider import Call, CrashClass, Provider, Reply
from headrace.providers.local.images import ImagesProvider
from headrace.providers.local.texts import TextsProvider
from headrace.recipe import parse_recipe
from headrace.request import Request
from headrace.stage import Stage, StageInput
from headrace.stages import build_stages
from headrace.testing import CallDesk, ManualClock, SimulatedProvider, SimulatedSettings
from headrace.testing.conformance import (
    CacheConformance,
    GateConformance,
    ProviderConformance,
    StageConformance,
)


class SimulatedSuite(ProviderConformance):
    """A provider that refuses half of all contents: the suite is given some of each."""

    crash_class = CrashClass.BLIND
    unknown_model = "another"

    async def make_provider(self) -> Provider:
        settings = SimulatedSettings(
            crash_class=self.crash_class, models=("m",), failures={OutcomeKind.REFUSED: 0.5}
        )
        if self.crash_class is not CrashClass.PURE:
            settings = replace(settings, price_microcredits=1_000_000, cost_microusd=40_000)
        return SimulatedProvider(settings, clock=ManualClock())

    def make_request(self, provider: Provider, number: int) -> Request:
        return list(islice(self.requests(provider, refused=False), number))[-1]

    async def make_failing(self, provider: Provider) -> Request | None:
        return next(self.requests(provider, refused=True))

    def purchases(self, provider: Provider) -> int | None:
        assert isinstance(provider, SimulatedProvider)
        return provider.purchases

    def requests(self, provider: Provider, *, refused: bool) -> Iterator[Request]:
        assert isinstance(provider, SimulatedProvider)
        for number in count():
            params = {"prompt": f"card {number}"}
            request = Request(provider.name, "m", provider.version("m"), params)
            fails = provider._fails(CallDesk().call(request))
            if (fails is OutcomeKind.REFUSED) is refused:
                yield request


class TestPure(SimulatedSuite):
    """Repeats are free."""

    crash_class = CrashClass.PURE


class TestKeyed(SimulatedSuite):
    """Class A."""

    crash_class = CrashClass.KEYED


class TestListed(SimulatedSuite):
    """Class B."""

    crash_class = CrashClass.LISTED


class TestPolled(SimulatedSuite):
    """Class C."""

    crash_class = CrashClass.POLLED


class TestBlind(SimulatedSuite):
    """Class D."""


class TestImages(ProviderConformance):
    """Pillow's work on artifacts."""

    unknown_model = "sharpen"

    async def make_provider(self) -> Provider:
        return ImagesProvider()

    def make_desk(self) -> CallDesk:
        desk = CallDesk()
        self.keep(desk)
        return desk

    def keep(self, desk: CallDesk) -> str:
        from headrace.providers.simulated.png_body import PngBody

        return desk.keep(PngBody(64, 48).whole(bytes(32)), "image/png").sha256.hex()

    def make_request(self, provider: Provider, number: int) -> Request:
        source = self.keep(CallDesk())
        version = provider.version("resize")
        return Request("images", "resize", version, {"width": 10 + number}, (source,))

    async def make_failing(self, provider: Provider) -> Request | None:
        params = {"media_type": "image/png", "size_bytes": 1, "rules": {"width": 1}}
        source = self.keep(CallDesk())
        return Request("images", "check", provider.version("check"), params, (source,))


class TestTexts(ProviderConformance):
    """Pages composed on this machine."""

    unknown_model = "translate"

    async def make_provider(self) -> Provider:
        return TextsProvider()

    def make_request(self, provider: Provider, number: int) -> Request:
        params = {"body": f"Page {number}.", "front": {"title": f"Page {number}"}}
        return Request("texts", "compose", provider.version("compose"), params)

    async def make_failing(self, provider: Provider) -> Request | None:
        params = {"body": "x", "front": {}, "schema": {"required": ["title"]}}
        return Request("texts", "compose", provider.version("compose"), params)


class TestLocalGate(GateConformance):
    """The gate of one process."""

    async def make_gate(self) -> Gate:
        return LocalGate(ManualClock())


class TestGenerate(StageConformance):
    """A stage that calls a provider."""

    table: dict[str, Any] = {  # noqa: RUF012 - read only
        "kind": "generate",
        "model": "simulated:m",
        "prompt": "A card of {{ title }}",
        "params": {"size": 512, "style": {"tone": "{{ tone }}"}},
    }

    def make_stage(self) -> Stage:
        recipe = parse_recipe({"stages": [self.table]}, "recipe.toml")
        return build_stages(recipe, {"simulated": SimulatedProvider()})[0]

    def make_input(self, number: int) -> StageInput:
        row = {"title": f"tea {number}", "tone": "warm", "unused": "x"}
        return StageInput(row, {}, {}, None, number, "batch")


class TestCompose(TestGenerate):
    """A stage that puts a page together."""

    table: dict[str, Any] = {  # noqa: RUF012 - read only
        "kind": "compose",
        "body": "{{ title }}",
        "front": {"tone": "{{ tone }}"},
    }

    def make_stage(self) -> Stage:
        recipe = parse_recipe({"stages": [self.table]}, "recipe.toml")
        return build_stages(recipe, {"texts": TextsProvider()})[0]


class TestWrite(TestGenerate):
    """A stage done on the spot."""

    table = {"kind": "write", "file": "{{ title }}"}  # noqa: RUF012 - read only


class MemoryCache:
    """The least that a cache can be."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, bytes], CacheHit] = {}

    async def get_many(
        self, tenant_id: str, fingerprints: list[bytes], newer_than: datetime | None = None
    ) -> dict[bytes, CacheHit]:
        kept = [(wanted, self.kept.get((tenant_id, wanted))) for wanted in fingerprints]
        return {
            wanted: hit
            for wanted, hit in kept
            if hit is not None and (newer_than is None or hit.created_at > newer_than)
        }

    async def note(self, tenant_id: str, hit: CacheHit) -> None:
        kept = self.kept.get((tenant_id, hit.fingerprint))
        if kept is not None and kept.artifact.sha256 == hit.artifact.sha256:
            self.kept[tenant_id, hit.fingerprint] = hit


class TestMemoryCache(CacheConformance):
    """The suite against the least of caches."""

    async def make_cache(self) -> Cache:
        return MemoryCache()

    async def put(self, cache: Cache, tenant_id: str, fingerprint: bytes, hit: CacheHit) -> None:
        assert isinstance(cache, MemoryCache)
        cache.kept[tenant_id, fingerprint] = hit


class Forgetful(SimulatedProvider):
    """Says that it honours keys, and buys again all the same."""

    async def call(self, call: Call) -> Reply:
        self.purchases += 1
        return Reply("text/plain", body=b"again")


class Doubled(SimulatedProvider):
    """Gives its body twice."""

    async def call(self, call: Call) -> Reply:
        artifact = CallDesk().keep(b"x", "text/plain")
        return Reply("text/plain", body=b"x", artifact=artifact)


async def test_the_suite_catches_a_second_purchase() -> None:
    """A class A provider that buys twice for one key does not pass."""

    class Suite(TestKeyed):
        async def make_provider(self) -> Provider:
            settings = SimulatedSettings(crash_class=CrashClass.KEYED, models=("m",))
            return Forgetful(settings, clock=ManualClock())

    with pytest.raises(AssertionError):
        await Suite().test_keyed_buys_once_for_a_key()


async def test_the_suite_catches_two_results() -> None:
    """A provider that sets both body and artifact does not pass."""

    class Suite(TestBlind):
        async def make_provider(self) -> Provider:
            return Doubled(SimulatedSettings(models=("m",)), clock=ManualClock())

    with pytest.raises(AssertionError, match="exactly one"):
        await Suite().test_a_call_gives_one_result()


async def test_the_suite_catches_a_leaking_cache() -> None:
    """A cache that shows one tenant's entries to another does not pass."""

    class Leaky(MemoryCache):
        async def get_many(
            self, tenant_id: str, fingerprints: list[bytes], newer_than: datetime | None = None
        ) -> dict[bytes, CacheHit]:
            return await super().get_many("t1", fingerprints, newer_than)

    class Suite(TestMemoryCache):
        async def make_cache(self) -> Cache:
            return Leaky()

    with pytest.raises(AssertionError):
        await Suite().test_tenants_are_apart()
