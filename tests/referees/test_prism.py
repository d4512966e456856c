"""Adapters and simulator against the official schemas, with Prism as the referee between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.outcome import CallFailed, OutcomeKind
from headrace.providers.bfl.adapter import BflProvider
from headrace.providers.remote.adapter import RemoteProvider
from headrace.providers.replicate.adapter import ReplicateProvider
from headrace.providers.simulated.png_body import PngBody
from headrace.request import Request, at_place
from headrace.simulator.server import Simulator
from headrace.simulator.settings import FaultSettings, LatencySettings, Settings
from headrace.testing import CallDesk
from tests.referees.prism import Exchange, judged, need_prism, prism

pytestmark = pytest.mark.process
KEY = "r8_simulated"
VERSION = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"
KNOWN = "response.body.version: Response body property version must match exactly one schema"
"""The schema says that "hidden" is either any text or "hidden": both at once fit."""


def settings_of(shape: str, **more: Any) -> Settings:
    return Settings(shapes=(shape,), latency=LatencySettings(median_s=0.2), **more)


async def bought(provider: RemoteProvider, desk: CallDesk, request: Request) -> OutcomeKind:
    """How one call ended."""
    try:
        reply = await provider.call(desk.call(request))
    except CallFailed as failure:
        return failure.outcome.kind
    assert desk.body_of(reply).startswith(b"\x89PNG")
    return OutcomeKind.SUCCESS


def broken(exchanges: list[Exchange]) -> list[Exchange]:
    """The exchanges that break the schema in a way that is not known."""
    return [
        one
        for one in exchanges
        if any(not violation.startswith(KNOWN) for violation in one.violations)
    ]


async def test_replicates_schema_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Creates of each kind, uploads, looks, a wait, a cancel and the probe: all as it says."""
    need_prism()
    simulator = Simulator(settings_of("replicate", refuse_word="refuse"))
    await simulator.start()
    try:
        async with prism("replicate", f"{simulator.url}/v1") as url:
            table = {"base_url": url, "api_key": KEY, "download_hosts": ["127.0.0.1"]}
            provider = ReplicateProvider.from_config("replicate", table, SystemClock())
            waiting = ReplicateProvider.from_config(
                "replicate", {**table, "wait_s": 10}, SystemClock()
            )
            exchanges = judged(provider.http, monkeypatch)
            waited = judged(waiting.http, monkeypatch)
            desk = CallDesk()
            large = desk.keep(PngBody(400, 400, 400_000).whole(bytes(32)), "image/png")
            ends = []
            for model in ("acme/painter", VERSION, f"acme/painter:{VERSION}", "deployments/acme/x"):
                request = Request("replicate", model, "1", {"prompt": "A card", "seed": 7})
                ends.append(await bought(provider, desk, request))
            request = Request(
                "replicate", "acme/painter", "1", {"prompt": "A", "image": at_place(0)}
            )
            ends.append(
                await bought(provider, desk, replace(request, sources=(large.sha256.hex(),)))
            )
            ends.append(await bought(waiting, desk, request_of("A wait")))
            assert await bought(provider, desk, request_of("refuse")) is OutcomeKind.REFUSED
            await provider.cancel(desk.accepted[-1][0], None)
            probe = await provider.probe()
            await provider.close()
            await waiting.close()
    finally:
        await simulator.close()
    assert ends == [OutcomeKind.SUCCESS] * 6
    assert probe is not None
    assert probe.kind is OutcomeKind.SUCCESS
    exchanges += waited
    paths = {(one.method, one.path.split("/")[1]) for one in exchanges}
    assert paths == {
        ("POST", "models"),
        ("POST", "predictions"),
        ("POST", "deployments"),
        ("POST", "files"),
        ("GET", "predictions"),
        ("GET", "account"),
    }
    assert broken(exchanges) == []
    assert any(one.violations for one in exchanges), "the referee is awake: it sees the known one"


def request_of(prompt: str) -> Request:
    return Request("replicate", "acme/painter", "1", {"prompt": prompt})


async def test_bfls_schema_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Submits of several models, looks at every ending, and the probe: all as it says."""
    need_prism()
    simulator = Simulator(
        settings_of("bfl", refuse_word="refuse", faults=(FaultSettings(kind="failed", share=0.2),))
    )
    await simulator.start()
    try:
        async with prism("bfl", simulator.url) as url:
            table = {"base_url": url, "api_key": KEY, "download_hosts": ["127.0.0.1"]}
            provider = BflProvider.from_config("bfl", table, SystemClock())
            exchanges = judged(provider.http, monkeypatch)
            desk = CallDesk()
            picture = desk.keep(PngBody(64, 48).whole(bytes(32)), "image/png").sha256.hex()
            sized = {"width": "1024", "height": 768, "safety_tolerance": "2"}
            ends = []
            for model, params in (
                ("flux-2-pro", {"prompt": "A card", **sized}),
                ("flux-2-flex", {"prompt": "A card", "steps": "20", "guidance": "4.5"}),
                ("flux-pro-1.1", {"prompt": "A card", "prompt_upsampling": "true", "seed": "7"}),
                ("flux-kontext-pro", {"prompt": "A card", "input_image": at_place(0)}),
                ("flux-2-pro", {"prompt": "refuse"}),
            ):
                request = Request("bfl", model, "1", params, (picture,))
                ends.append(await bought(provider, desk, request))
            probe = await provider.probe()
            await provider.close()
    finally:
        await simulator.close()
    assert OutcomeKind.SUCCESS in ends
    assert ends[-1] is OutcomeKind.REFUSED
    assert probe is not None
    assert probe.kind is OutcomeKind.SUCCESS
    assert {one.path for one in exchanges} >= {"/v1/flux-2-pro", "/v1/get_result", "/v1/credits"}
    assert broken(exchanges) == []


async def test_the_referee_sees_what_breaks_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """A width that BFL does not have is named: silence means that nothing is wrong."""
    need_prism()
    simulator = Simulator(settings_of("bfl"))
    await simulator.start()
    try:
        async with prism("bfl", simulator.url) as url:
            table = {"base_url": url, "api_key": KEY, "download_hosts": ["127.0.0.1"]}
            provider = BflProvider.from_config("bfl", table, SystemClock())
            exchanges = judged(provider.http, monkeypatch)
            request = Request("bfl", "flux-pro-1.1", "1", {"prompt": "A card", "width": 1000})
            await bought(provider, CallDesk(), request)
            await provider.close()
    finally:
        await simulator.close()
    assert any("width" in violation for one in exchanges for violation in one.violations)
