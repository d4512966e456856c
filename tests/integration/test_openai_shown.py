"""The openai provider asked for previews: what is shown, what it makes, and every broken end."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.blob import open_blobs
from headrace.clock import SystemClock
from headrace.outcome import Outcome, OutcomeKind
from headrace.preview import Preview, Previews
from headrace.provider import Reply
from headrace.providers.openai import shown as shown_images
from headrace.providers.openai.adapter import OpenAIProvider
from headrace.providers.openai.compatible import OpenAICompatibleProvider
from headrace.providers.simulated.png_body import PngBody
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.calling import end_of
from tests.integration.speaking import (
    Answer,
    Heard,
    http,
    in_parts,
    resets_after,
    says,
    speaking,
    speaks,
)

MODEL = "gpt-image-2"
WHOLE = PngBody(64, 48).whole(bytes(32))
LARGE = PngBody(256, 256, 700_000).whole(bytes(32))
STATES = [PngBody(32, 32).whole(bytes([number]) * 32) for number in range(3)]
EVENTS = {"Content-Type": "text/event-stream; charset=utf-8"}
ABOUT = {"size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "png"}
USAGE = {
    "input_tokens": 9,
    "output_tokens": 372,
    "total_tokens": 381,
    "input_tokens_details": {"text_tokens": 9, "image_tokens": 0},
}
PRICES = {MODEL: {"input_usd_per_million": 5, "image_output_usd_per_million": 30}}


def b64(body: bytes) -> str:
    return base64.b64encode(body).decode()


def partial(index: int = 0, body: bytes | None = None, **more: Any) -> dict[str, Any]:
    told = {"type": "image_generation.partial_image", "partial_image_index": index}
    return {**told, "b64_json": b64(STATES[index] if body is None else body), **ABOUT, **more}


def completed(body: bytes = WHOLE, **more: Any) -> dict[str, Any]:
    told = {"type": "image_generation.completed", "b64_json": b64(body), "created_at": 1}
    return {**told, **ABOUT, "usage": USAGE, **more}


def wired(*events: Any, end: str = "\n", named: bool = True) -> bytes:
    told = []
    for one in events:
        name = f"event: {one['type']}{end}" if named and isinstance(one, dict) else ""
        data = one if isinstance(one, str) else json.dumps(one)
        told.append(f"{name}data: {data}{end}{end}")
    return "".join(told).encode()


def streams(*events: Any, **how: Any) -> Answer:
    return speaks(http(wired(*events, **how), headers=EVENTS))


async def shown_by(
    answer: Answer, request: Request | None = None, count: int = 3, **table: Any
) -> tuple[Reply | Outcome, list[Preview], Heard, bytes]:
    """How one call ends that somebody watches, what was shown, what was heard, and the bytes."""
    seen: list[Preview] = []

    async def show(one: Preview) -> None:
        seen.append(one)

    request = request or Request("mine", MODEL, "1", {"prompt": "A card"})
    async with speaking(answer) as speaker:
        told = {"base_url": speaker.url, "api_key": "sk-secret", **table}
        provider = OpenAIProvider.from_config("mine", told, SystemClock())
        desk = CallDesk()
        end = await end_of(provider, replace(desk.call(request), previews=Previews(count, show)))
        assert len(speaker.heard) == 1
        body = desk.body_of(end) if isinstance(end, Reply) else b""
        return end, seen, speaker.heard[0], body


async def test_previews_are_shown_and_the_image_is_the_one_that_came_whole() -> None:
    """Each preview as it came; image, usage, cost and facts are those of a whole answer."""
    end, seen, heard, body = await shown_by(
        streams(partial(0), partial(1), completed()), count=2, prices=PRICES
    )
    assert heard.json == {
        "model": MODEL, "prompt": "A card", "stream": True, "partial_images": 2
    }  # fmt: skip
    assert [(one.index, one.media_type, one.body) for one in seen] == [
        (index, "image/png", STATES[index]) for index in (0, 1)
    ]
    assert seen[0].about == {"size": "1024x1024", "quality": "low", "background": "opaque"}
    answer = {"created": 1, "data": [{"b64_json": b64(WHOLE)}], **ABOUT, "usage": USAGE}
    whole, nothing, heard, same = await shown_by(says(answer), streams=False, prices=PRICES)
    assert "stream" not in heard.json
    assert (end, body, nothing) == (whole, same, [])
    assert isinstance(end, Reply)
    assert end.estimate_microusd == 9 * 5 + 372 * 30


@pytest.mark.parametrize("how", [{"end": "\r\n"}, {"named": False}], ids=["crlf", "no names"])
async def test_odd_but_lawful_events_are_read(how: dict[str, Any]) -> None:
    """Other line ends, no names, comments, no last empty line, events of other kinds."""
    events = ["", {"type": "image_generation.started"}, partial(0), completed(LARGE), "[DONE]"]
    raw = b": hi\n\nid: 1\nretry: 5\n" + wired(*events, **how)
    end, seen, _, body = await shown_by(speaks(http(raw, headers=EVENTS)))
    assert isinstance(end, Reply)
    assert (len(seen), body == LARGE, end.artifact is not None) == (1, True, True)
    raw = wired(completed()).rstrip(b"\n")
    end, seen, _, body = await shown_by(speaks(http(raw, headers=EVENTS)))
    assert (seen, body) == ([], WHOLE)


async def test_any_cut_gives_the_same() -> None:
    """However the bytes come, previews and image are whole."""
    raw = wired(partial(0), partial(2), completed())

    def drips(step: int) -> Answer:
        async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
            writer.write(http(b"", headers={**EVENTS, "Content-Length": str(len(raw))}))
            for at in range(0, len(raw), step):
                writer.write(raw[at : at + step])
                await writer.drain()
                await asyncio.sleep(0)

        return answer

    for step in (1, 7, 64):
        _, seen, _, body = await shown_by(drips(step))
        assert ([one.body for one in seen], body) == ([STATES[0], STATES[2]], WHOLE)


@pytest.mark.parametrize(
    "one",
    [
        partial(0, b"no picture"),
        partial(0, b"<svg xmlns='x'><script/></svg>"),
        partial(0, STATES[0][:-20]),
        partial(0, b""),
        partial(0, PngBody(64, 64, 5_000).whole(bytes(32))),
    ],
    ids=["no picture", "drawing", "cut off", "empty", "too large"],
)
async def test_what_is_no_preview_is_not_shown(
    one: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is passed over, and takes nothing from the image."""
    monkeypatch.setattr(shown_images, "PREVIEW_BYTES_MAX", 4_000)
    _, seen, _, body = await shown_by(streams(one, completed()))
    assert (seen, body) == ([], WHOLE)


async def test_names_that_lie_change_nothing() -> None:
    """What an event is, its JSON says: a preview is no image, an image no preview."""
    raw = wired(partial(0), completed()).replace(
        b"event: image_generation.partial_image", b"event: x"
    )
    _, seen, _, body = await shown_by(speaks(http(raw, headers=EVENTS)))
    assert (len(seen), body) == (1, WHOLE)
    late = {"b64_json": b64(LARGE), "partial_image_index": 0}
    late["type"] = "image_generation.partial_image"
    _, seen, _, body = await shown_by(streams(late, completed(), named=False))
    assert (seen, body) == ([], WHOLE), "it could have been the image, so it was not held"
    raw = wired(completed()).replace(
        b"event: image_generation.completed", b"event: x.partial_image"
    )
    _, seen, _, body = await shown_by(speaks(http(raw, headers=EVENTS)))
    assert (seen, body) == ([], WHOLE)
    odd = partial(0, partial_image_index="7")
    _, seen, _, _ = await shown_by(streams(odd, completed()))
    assert seen[0].index == 0


@pytest.mark.parametrize(
    "raw",
    [
        wired(partial(0)),
        wired(partial(0), completed())[:-40],
        wired(partial(0), '{"type": "image_generation.completed", "b64'),
        b"",
    ],
    ids=["only a preview", "half an image", "half an event", "silence"],
)
async def test_previews_alone_are_no_result(raw: bytes) -> None:
    """An answer without its image is lost, however far it was shown."""
    end, _, _, _ = await shown_by(speaks(http(raw, headers=EVENTS)))
    assert isinstance(end, Outcome)
    assert end.kind is OutcomeKind.LOST_RESULT


async def test_a_reset_midway_is_a_lost_result() -> None:
    """What was shown until then was shown."""
    raw = http(wired(partial(0)), headers=EVENTS, claimed_bytes=10_000)
    end, _, _, _ = await shown_by(resets_after(raw))
    assert isinstance(end, Outcome)
    assert end.kind is OutcomeKind.LOST_RESULT


async def test_errors_are_what_they_say() -> None:
    """Before the stream and in it; a picture that is withheld midway is refused."""
    error = {"type": "image_generation_user_error", "code": "moderation_blocked", "message": "No"}
    for event in ({"type": "error", "error": error}, {"type": "x", "error": error}):
        end, seen, _, _ = await shown_by(streams(partial(0), event))
        assert isinstance(end, Outcome)
        assert (end.kind, len(seen)) == (OutcomeKind.REFUSED, 1)
    end, _, _, _ = await shown_by(says({"error": {"message": "slow", "type": "requests"}}, 429))
    assert isinstance(end, Outcome)
    assert end.kind is OutcomeKind.RATE_LIMITED
    for wrong in (completed(b"words"), completed(b""), {"type": "x.completed"}):
        end, _, _, _ = await shown_by(streams(wrong))
        assert isinstance(end, Outcome)
        assert end.kind is OutcomeKind.NO_OUTPUT
    broken = {"type": "image_generation.completed", "b64_json": "no base64!"}
    end, _, _, _ = await shown_by(streams(broken))
    assert isinstance(end, Outcome)
    assert end.kind is OutcomeKind.NO_OUTPUT


@pytest.mark.parametrize(
    ("model", "params", "table"),
    [
        ("gpt-x", {}, {}),
        ("dall-e-3", {}, {}),
        (MODEL, {"output_format": "svg"}, {}),
        (MODEL, {}, {"streams": False}),
    ],
)
async def test_previews_are_asked_for_where_there_are_any(
    model: str, params: dict[str, Any], table: dict[str, Any]
) -> None:
    """Not of texts, older models, drawings, nor where the settings say no."""
    request = Request("mine", model, "1", {"prompt": "A card", **params})
    _, _, heard, _ = await shown_by(says({"data": [{"b64_json": b64(WHOLE)}]}), request, **table)
    assert "stream" not in heard.json
    assert "partial_images" not in heard.json


async def unseen(one: Preview) -> None:
    raise AssertionError("nobody is shown anything")


async def test_other_servers_are_not_asked_for_previews() -> None:
    """Whether a server like it has them, nobody knows."""
    async with speaking(says({"data": [{"b64_json": b64(WHOLE)}]})) as speaker:
        table = {"base_url": speaker.url}
        provider = OpenAICompatibleProvider.from_config("mine", table, SystemClock())
        call = CallDesk().call(Request("mine", MODEL, "1", {"prompt": "A card"}))
        await provider.call(replace(call, previews=Previews(3, unseen)))
        await provider.close()
    assert "stream" not in speaker.heard[0].json


async def test_a_server_that_answers_whole_is_taken_at_that() -> None:
    """Nothing is shown, and the result is the same."""
    end, seen, _, body = await shown_by(says({"data": [{"b64_json": b64(WHOLE)}]}))
    assert isinstance(end, Reply)
    assert (seen, body) == ([], WHOLE)


async def test_large_previews_take_little_memory(tmp_path: Path) -> None:
    """Of previews and an image of 4 MB each, little more than one preview is in memory."""
    body = PngBody(256, 256, 4_000_000).whole(bytes(32))
    events = [partial(0, body), partial(1, body), partial(2, body), completed(body)]
    blobs, last = await open_blobs(str(tmp_path / "blobs")), list[Preview]()

    async def show(one: Preview) -> None:
        last[:] = [one]

    async with speaking(in_parts(http(wired(*events), headers=EVENTS))) as speaker:
        table = {"base_url": speaker.url, "api_key": "sk"}
        provider = OpenAIProvider.from_config("mine", table, SystemClock())
        call = CallDesk().call(Request("mine", MODEL, "1", {"prompt": "A card"}))
        call = replace(call, previews=Previews(3, show), spool=blobs.spool)
        tracemalloc.start()
        reply = await provider.call(call)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await provider.close()
    assert reply.artifact is not None
    assert await blobs.read(reply.artifact.sha256) == body
    await blobs.close()
    assert last[0].index == 2
    assert peak_bytes < 14_000_000, peak_bytes
