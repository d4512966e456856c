"""The simulated provider: its answers, its faults, and a memory that outlives its process."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headrace.errors import ConfigError, NotFoundError
from headrace.outcome import CallFailed, OutcomeKind
from headrace.provider import CrashClass
from headrace.request import Request
from headrace.testing import (
    CallDesk,
    LogNormal,
    ManualClock,
    SimulatedProvider,
    SimulatedSettings,
    read_call_log,
)


def ask(prompt: str = "a card") -> Request:
    return Request("simulated", "m", "1", {"prompt": prompt})


def build(clock: ManualClock | None = None, **settings: Any) -> SimulatedProvider:
    return SimulatedProvider(SimulatedSettings(**settings), clock=clock or ManualClock())


async def ends(provider: SimulatedProvider, key: str, prompt: str = "a card") -> OutcomeKind:
    try:
        await provider.call(CallDesk().call(ask(prompt), key))
    except CallFailed as failure:
        return failure.outcome.kind
    return OutcomeKind.SUCCESS


async def test_text_answers_tell_their_request() -> None:
    """The default body is a little text with the prompt; the same request gives the same bytes."""
    provider, desk = build(), CallDesk()
    first = await provider.call(desk.call(ask(), "k1"))
    second = await provider.call(desk.call(ask(), "k2"))
    assert first.media_type == "text/plain"
    assert b"a card" in desk.body_of(first)
    assert desk.body_of(first) == desk.body_of(second)


async def test_json_answers_parse() -> None:
    """A JSON body is JSON, also when it is lengthened."""
    provider, desk = build(body="json", body_bytes=1000), CallDesk()
    body = desk.body_of(await provider.call(desk.call(ask('quoted "words"'))))
    assert len(body) == 1000
    assert json.loads(body)["answer"] == 'quoted "words"'


@pytest.mark.parametrize("body_bytes", [0, 5_000, 500_000])
async def test_images_are_real_pngs(body_bytes: int) -> None:
    """An image body decodes, has its size in pixels and bytes, and differs by request."""
    provider = build(body="image", size_px=(120, 80), body_bytes=body_bytes)
    desk = CallDesk()
    replies = [await provider.call(desk.call(ask(f"card {number}"))) for number in range(2)]
    bodies = [desk.body_of(reply) for reply in replies]
    assert bodies[0] != bodies[1]
    for body in bodies:
        image = Image.open(io.BytesIO(body))
        image.load()
        assert image.size == (120, 80)
        assert len(image.getcolors(10_000) or []) > 2
        assert body_bytes == 0 or len(body) == body_bytes
    assert replies[0].facts == {"width": 120, "height": 80}


async def test_large_bodies_are_spooled_in_pieces() -> None:
    """A body above 64 KiB goes through the spool, at most 64 KiB at a time."""
    provider, desk = build(body="image", body_bytes=1_000_000), CallDesk()
    reply = await provider.call(desk.call(ask()))
    assert reply.body is None
    assert reply.artifact is not None
    assert reply.artifact.size_bytes == 1_000_000
    assert desk.spools[0].pieces > 15


async def test_large_text_is_spooled_too() -> None:
    """A text above 64 KiB is spooled in its full length."""
    provider, desk = build(body_bytes=100_000), CallDesk()
    reply = await provider.call(desk.call(ask()))
    assert len(desk.body_of(reply)) == 100_000
    assert reply.body is None


async def test_failures_come_in_their_shares() -> None:
    """Of many calls, each outcome takes about the share that it was given."""
    provider = build(failures={OutcomeKind.TRANSIENT: 0.2, OutcomeKind.REFUSED: 0.1})
    found = [await ends(provider, f"k{n}", f"card {n}") for n in range(4000)]
    assert 0.17 < found.count(OutcomeKind.TRANSIENT) / 4000 < 0.23
    assert 0.07 < found.count(OutcomeKind.REFUSED) / 4000 < 0.13


async def test_the_same_call_ends_the_same_way() -> None:
    """The end of a call depends on its key and content alone, so a test repeats."""
    shares = {OutcomeKind.OVERLOADED: 0.3, OutcomeKind.INVALID: 0.2}
    runs = []
    for _ in range(2):
        provider = build(failures=shares)
        runs.append([await ends(provider, f"k{n}", f"card {n}") for n in range(200)])
    assert runs[0] == runs[1]
    other = build(failures=shares, seed=7)
    assert [await ends(other, f"k{n}", f"card {n}") for n in range(200)] != runs[0]


async def test_refusal_belongs_to_the_content() -> None:
    """A refused prompt is refused under every key; a transient fault is not."""
    provider = build(failures={OutcomeKind.REFUSED: 0.5})
    assert len({await ends(provider, f"k{n}") for n in range(50)}) == 1
    provider = build(failures={OutcomeKind.TRANSIENT: 0.5})
    assert len({await ends(provider, f"k{n}") for n in range(50)}) == 2


async def test_retry_after_is_named_for_its_share() -> None:
    """Rate limits name a wait for the share of calls that they should."""
    provider = build(
        failures={OutcomeKind.RATE_LIMITED: 1.0}, retry_after_share=0.5, retry_after_s=3.0
    )
    waits = []
    for number in range(300):
        with pytest.raises(CallFailed) as caught:
            await provider.call(CallDesk().call(ask(), f"k{number}"))
        waits.append(caught.value.outcome.wait_s)
    assert set(waits) == {None, 3.0}
    assert 100 < waits.count(3.0) < 200


async def test_latency_runs_on_the_clock() -> None:
    """A call with a fixed latency answers when the clock has moved by it, not before."""
    clock = ManualClock()
    provider = build(clock, latency_s=2.0)
    await clock.finish(provider.call(CallDesk().call(ask())))
    assert clock.monotonic_s() == pytest.approx(2.0)
    assert provider.in_flight == 0
    assert provider.in_flight_max == 1


def test_lognormal_has_its_median() -> None:
    """Half of the latencies lie below the median, and they are spread on both sides."""
    latency = LogNormal(2.0, 0.5)
    assert latency.at(0.5) == pytest.approx(2.0)
    assert 0 < latency.at(0.0) < latency.at(0.1) < 2.0 < latency.at(0.9) < latency.at(1.0) < 100


async def test_log_has_a_line_before_the_answer(tmp_path: Path) -> None:
    """A call is in the log, with all that an audit needs, while its answer is still to come."""
    clock, path = ManualClock(), tmp_path / "calls.jsonl"
    provider = build(clock, latency_s=5.0, log_path=path, crash_class=CrashClass.POLLED)
    desk = CallDesk()
    call = desk.call(ask(), "k1", "m1")
    with pytest.raises(TimeoutError):
        await clock.finish(provider.call(call), within_s=1.0)
    (line,) = read_call_log(path)
    assert line["key"] == "k1"
    assert line["marker"] == "m1"
    assert line["prompt"] == "a card"
    assert line["fingerprint"] == ask().fingerprint.hex()
    assert (line["kind"], line["outcome"], line["paid"], line["number"]) == (
        "create",
        "success",
        True,
        1,
    )
    assert line["pid"] == os.getpid()
    assert desk.accepted[0][0] == line["id"]


async def test_keyed_remembers_across_objects(tmp_path: Path) -> None:
    """Class A: another process with the same log gets the stored answer, logged as a repeat."""
    path = tmp_path / "calls.jsonl"
    desk = CallDesk()
    for _ in range(3):
        provider = build(crash_class=CrashClass.KEYED, log_path=path)
        await provider.call(desk.call(ask(), "k1"))
        await provider.close()
    assert [line["outcome"] for line in read_call_log(path)] == ["success", "repeat", "repeat"]
    assert [line["paid"] for line in read_call_log(path)] == [True, False, False]


async def test_two_open_logs_are_one_provider(tmp_path: Path) -> None:
    """What one process bought, another that had opened the log before sees as well."""
    path = tmp_path / "calls.jsonl"
    one, two = (build(crash_class=CrashClass.LISTED, log_path=path) for _ in range(2))
    call = CallDesk().call(ask(), "k1")
    assert await two.find(call) is None
    await one.call(call)
    assert await two.find(call) is not None


async def test_unknown_is_paid_and_recovered_by_key() -> None:
    """A call whose answer was lost is billed once: the same key gives the answer later."""
    provider = build(crash_class=CrashClass.KEYED, failures={OutcomeKind.UNKNOWN: 1.0})
    assert await ends(provider, "k1") is OutcomeKind.UNKNOWN
    assert await ends(provider, "k1") is OutcomeKind.SUCCESS
    assert provider.purchases == 1


async def test_polling_waits_only_for_the_rest(tmp_path: Path) -> None:
    """Class C: a new process that polls waits until the job is ready, no longer."""
    clock, path = ManualClock(), tmp_path / "calls.jsonl"
    desk = CallDesk()
    settings = {"latency_s": 10.0, "log_path": path, "crash_class": CrashClass.POLLED}
    with pytest.raises(TimeoutError):
        await clock.finish(build(clock, **settings).call(desk.call(ask())), within_s=4.0)
    await clock.advance(4.0)
    reply = await clock.finish(build(clock, **settings).resume(desk.call(ask()), *desk.accepted[0]))
    assert clock.monotonic_s() == pytest.approx(10.0)
    assert b"a card" in desk.body_of(reply)
    assert [line["kind"] for line in read_call_log(path)] == ["create", "poll"]


async def test_cancelled_jobs_say_so() -> None:
    """A poll for a cancelled call ends as cancelled."""
    provider, desk = build(crash_class=CrashClass.POLLED), CallDesk()
    await provider.call(desk.call(ask()))
    await provider.cancel(*desk.accepted[0])
    with pytest.raises(CallFailed) as caught:
        await provider.resume(desk.call(ask()), *desk.accepted[0])
    assert caught.value.outcome.kind is OutcomeKind.CANCELLED


async def test_timeouts_never_arrive(tmp_path: Path) -> None:
    """A call that timed out before sending is neither logged nor billed."""
    path = tmp_path / "calls.jsonl"
    provider = build(failures={OutcomeKind.TIMEOUT: 1.0}, log_path=path)
    assert await ends(provider, "k1") is OutcomeKind.TIMEOUT
    assert read_call_log(path) == []
    assert provider.purchases == 0


async def test_models_can_be_listed() -> None:
    """With a list of models, another one is not found, with the nearest named."""
    provider = build(models=("flux-fast", "flux-pro"))
    with pytest.raises(NotFoundError) as caught:
        provider.version("flux-prp")
    assert "flux-pro" in caught.value.remedy


def test_version_follows_the_bodies() -> None:
    """Settings that change the bytes change the version; others do not."""
    assert build().version("m") == build(latency_s=1.0).version("m")
    assert build().version("m") != build(body="image").version("m")


def test_config_is_read() -> None:
    """Every key of the config table finds its setting."""
    table = {
        "kind": "simulated",
        "latency_s": {"median_s": 2, "sigma": 0.3},
        "crash_class": "C",
        "failures": {"rate_limited": 0.1},
        "retry_after_share": 0.5,
        "retry_after_s": 2,
        "body": "image",
        "size_px": "64x32",
        "body_bytes": 100,
        "price_microcredits": 1_000_000,
        "cost_microusd": 40_000,
        "concurrency": 8,
        "models": ["a"],
        "log_path": "calls.jsonl",
        "seed": 3,
    }
    provider = SimulatedProvider.from_config("fake", table, ManualClock())
    assert provider.name == "fake"
    assert provider.settings == SimulatedSettings(
        latency_s=LogNormal(2.0, 0.3),
        crash_class=CrashClass.POLLED,
        failures={OutcomeKind.RATE_LIMITED: 0.1},
        retry_after_share=0.5,
        retry_after_s=2.0,
        body="image",
        size_px=(64, 32),
        body_bytes=100,
        price_microcredits=1_000_000,
        cost_microusd=40_000,
        concurrency=8,
        models=("a",),
        log_path=Path("calls.jsonl"),
        seed=3,
    )


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"latencys": 1}, "latency_s"),
        ({"latency_s": -1}, "between"),
        ({"latency_s": True}, "between"),
        ({"latency_s": {"median": 1}}, "median_s"),
        ({"latency_s": {"sigma": 1}}, "median_s"),
        ({"crash_class": "E"}, "crash class"),
        ({"failures": {"refsed": 0.1}}, "refused"),
        ({"failures": {"success": 0.1}}, "outcome"),
        ({"failures": {"refused": 1.5}}, "between"),
        ({"failures": {"refused": 0.9, "transient": 0.9}}, "sum"),
        ({"failures": 1}, "table"),
        ({"body": "picture"}, "body"),
        ({"size_px": "big"}, "size"),
        ({"size_px": "0x5"}, "8192"),
        ({"concurrency": 0}, "1 or more"),
        ({"seed": 1.5}, "whole"),
        ({"models": "a"}, "list"),
        ({"log_path": 5}, "path"),
    ],
)
def test_wrong_config_names_place_and_remedy(table: dict[str, Any], word: str) -> None:
    """A wrong key or value is a config error that says where and what is right."""
    with pytest.raises(ConfigError) as caught:
        SimulatedProvider.from_config("fake", table, ManualClock())
    assert "[providers.fake]" in str(caught.value)
    assert word in str(caught.value)


_CHILD = """
import asyncio, sys
from pathlib import Path
from headrace.request import Request
from headrace.provider import CrashClass
from headrace.testing import CallDesk, SimulatedProvider, SimulatedSettings

async def main():
    provider = SimulatedProvider(SimulatedSettings(
        latency_s=1000.0, crash_class=CrashClass.POLLED, log_path=Path(sys.argv[1])))
    async def say(job, url):
        print(job, flush=True)
    import dataclasses
    call = CallDesk().call(Request("simulated", "m", "1", {"prompt": "a card"}))
    await provider.call(dataclasses.replace(call, accepted=say))

asyncio.run(main())
"""


@pytest.mark.process
async def test_a_job_outlives_a_killed_process(tmp_path: Path) -> None:
    """After kill -9 of the caller the log is true, and the job is followed by its id."""
    path = tmp_path / "calls.jsonl"
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child, child.stdout:
        job = child.stdout.readline().strip()
        child.send_signal(signal.SIGKILL)
    (line,) = read_call_log(path)
    assert line["id"] == job
    assert line["pid"] == child.pid
    clock = ManualClock()
    provider = build(clock, latency_s=1000.0, crash_class=CrashClass.POLLED, log_path=path)
    desk = CallDesk()
    reply = await clock.finish(
        provider.resume(desk.call(ask()), job, None), within_s=10.0 * 365 * 86_400
    )
    assert b"a card" in desk.body_of(reply)
