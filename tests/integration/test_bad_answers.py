"""Bad answers never win: whatever a server says, no adapter delivers what is no result.

Nor does it hang, nor fill the memory. The adapters are those of ``adapters.SUBJECTS``.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headrace.artifact import Artifact
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import Call
from headrace.providers.remote import receiving
from headrace.providers.shelf import ADAPTERS
from headrace.providers.simulated.png_body import PngBody
from headrace.testing import CallDesk
from tests.integration.adapters import KEY, SUBJECTS, TOKEN_VARIABLE, Subject
from tests.integration.speaking import Answer, Heard, Speaker, drips, http, says, speaking, speaks

MEMORY_BYTES_MAX = 56_000_000
"""Room for the longest JSON (16 MB) twice, and for what the server here holds of it."""

NAMES = pytest.mark.parametrize("name", SUBJECTS)
PAINTERS = [name for name, subject in SUBJECTS.items() if subject.delivered is not None]
PNG = PngBody(64, 48).whole(bytes(32))

ONE_MB = 1 << 20


class SinkDesk(CallDesk):
    """Gives spools that count bytes and keep none, so that memory is the adapter's alone."""

    def call(self, *args: Any, **kwargs: Any) -> Call:
        call = super().call(*args, **kwargs)

        class Sink:
            size_bytes = 0

            async def write(self, chunk: bytes) -> None:
                self.size_bytes += len(chunk)

            async def commit(self) -> Artifact:
                return Artifact(bytes(32), "image/png", self.size_bytes)

        @asynccontextmanager
        async def spool(media_type: str) -> Any:
            yield Sink()

        object.__setattr__(call, "spool", spool)
        return call


async def ending(subject: Subject, answer: Answer, deadline_s: float = 5.0) -> Outcome:
    """How a call ends that is answered so; a success is a failure of the test."""
    async with asyncio.timeout(60), speaking(*subject.first, answer) as speaker:
        provider = subject.provider(speaker.url)
        await provider.open()
        try:
            with pytest.raises(CallFailed) as caught:
                await provider.call(SinkDesk(deadline_s=deadline_s).call(subject.request(provider)))
        finally:
            await provider.close()
    outcome = caught.value.outcome
    assert outcome.kind is not OutcomeKind.SUCCESS
    assert outcome.reason
    assert len(outcome.reason) < 3000
    assert KEY not in repr(outcome)
    assert caught.value.__cause__ is None or KEY not in repr(caught.value.__cause__)
    return outcome


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token for an adapter that takes one from the environment."""
    monkeypatch.setenv(TOKEN_VARIABLE, KEY)


@pytest.fixture
def memory() -> Iterator[Callable[[], int]]:
    """Counts the peak of memory, in bytes, since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_every_adapter_is_tried() -> None:
    """An adapter over HTTP that is on the shelf has an entry in the register of these tests."""
    tried = {subject.kind for subject in SUBJECTS.values()}
    assert tried == set(ADAPTERS) - {"simulated"}, "add it to tests/integration/adapters.py"


# -- successes that are none ---------------------------------------------------------------------

SAID: dict[str, bytes] = {
    "an error": b'{"error": {"message": "Something broke", "code": 500}}',
    "an error as text": b'{"error": "something broke"}',
    "success false": b'{"success": false, "error": "Something broke"}',
    "an error's number": b'{"error": {"code": 429, "message": "Provider returned error"}}',
    "nothing": b"",
    "an empty object": b"{}",
    "no data": b'{"created": 1, "data": []}',
    "no choices": b'{"choices": []}',
    "no output": b'{"status": "completed", "output": []}',
    "a list": b'[{"b64_json": 7}]',
    "a text": b'"done"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "NaN": b'{"data": [{"b64_json": NaN}], "seed": NaN}',
    "a half object": b'{"data": [{"b64',
    "HTML": b"<!DOCTYPE html><html><body>Sign in to the hotel's network</body></html>",
    "deep": b"[" * 100_000,
    "deep objects": b'{"data":' * 50_000,
    "no UTF-8": b"\xff\xfe\x00",
    "types": b'{"data": {"b64_json": []}, "choices": {"message": 1}, "output": 3, "url": {}}',
    "more types": b'{"data": [7], "choices": [[]], "output": [null], "images": {"url": 1}}',
    "an address of ours": b'{"data": [{"url": "http://169.254.169.254/latest"}], "url": 7}',
    "a file": b'{"data": [{"url": "file:///etc/passwd"}], "url": "file:///etc/passwd"}',
}


@NAMES
@pytest.mark.parametrize("said", SAID)
async def test_a_success_that_is_none_is_never_delivered(name: str, said: str) -> None:
    """HTTP 200 with an error, emptiness, or anything that only looks like an answer."""
    labels = {"Content-Type": "text/html"} if said == "HTML" else {}
    await ending(SUBJECTS[name], says(SAID[said], headers=labels))


@pytest.mark.parametrize("name", PAINTERS)
@pytest.mark.parametrize("labelled", ["image/png", "application/json", "text/plain", ""])
async def test_words_are_no_image_whatever_they_are_labelled(name: str, labelled: str) -> None:
    """Text where an image was due is no output, as JSON, as a chat, or under an image's name."""
    words = {"choices": [{"message": {"content": "I cannot draw, sorry"}}], "text": "sorry"}
    for body in (json.dumps(words).encode(), b"I cannot draw that, sorry", b"x" * 70_000):
        outcome = await ending(SUBJECTS[name], says(body, headers={"Content-Type": labelled}))
        kinds = {OutcomeKind.NO_OUTPUT, OutcomeKind.TRANSIENT} | SUBJECTS[name].also
        assert outcome.kind in kinds


def pictures() -> dict[str, bytes]:
    """A whole picture of each format whose end can be known."""
    noise = Image.effect_noise((96, 96), 90).convert("RGB")
    made = {}
    for form in ("PNG", "JPEG", "WEBP", "GIF"):
        out = io.BytesIO()
        noise.save(out, form)
        made[form] = out.getvalue()
    return made


WHOLE = pictures()


@pytest.mark.parametrize("name", PAINTERS)
@pytest.mark.parametrize("form", WHOLE)
async def test_a_picture_without_its_end_is_no_result(name: str, form: str) -> None:
    """Cut after its head, in the middle, and just before its end: all are noticed."""
    subject, body = SUBJECTS[name], WHOLE[form]
    assert subject.delivered is not None
    for length in (3, 40, len(body) // 2, len(body) - 20):
        outcome = await ending(subject, speaks(subject.delivered(body[:length])))
        # An end that is not there may also be one that was lost on its way.
        assert outcome.kind in {OutcomeKind.NO_OUTPUT} | subject.also


@pytest.mark.parametrize("name", PAINTERS)
@pytest.mark.parametrize("form", WHOLE)
async def test_a_picture_is_what_its_bytes_say(name: str, form: str) -> None:
    """Every format comes under its own type, though the label says PNG."""
    subject, body = SUBJECTS[name], WHOLE[form]
    assert subject.delivered is not None
    async with speaking(*subject.first, speaks(subject.delivered(body))) as speaker:
        provider, desk = subject.provider(speaker.url), CallDesk()
        reply = await provider.call(desk.call(subject.request(provider)))
        await provider.close()
    assert desk.body_of(reply) == body
    assert reply.media_type == f"image/{form.lower()}"


# -- bodies without end, or without pause --------------------------------------------------------


def floods(head: bytes, piece: bytes, headers: dict[str, str]) -> Answer:
    """Answer with ``head``, and then with ``piece`` for as long as anybody listens."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(http(head, headers=headers, claimed_bytes=10 << 30))
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()

    return answer


FLOODS: dict[str, tuple[bytes, bytes, str]] = {
    "blanks": (b'{"choices": [', b" " * 65536, "application/json"),
    "one text": (b'{"choices": [{"message": {"content": "', b"a" * 65536, "application/json"),
    "base64": (b'{"data": [{"b64_json": "iVBORw0KGgo', b"A" * 65536, "application/json"),
    "an image": (PNG, bytes(65536), "image/png"),
    "no image": (b"", bytes(65536), "image/png"),
}


@NAMES
@pytest.mark.parametrize("flood", FLOODS)
async def test_ten_gigabytes_are_not_waited_for(
    name: str, flood: str, memory: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body without end is left as soon as it is longer than any result."""
    monkeypatch.setattr(receiving, "IMAGE_BYTES_MAX", 8 * ONE_MB)
    head, piece, media_type = FLOODS[flood]
    answer = floods(head, piece, {"Content-Type": media_type})
    outcome = await ending(SUBJECTS[name], answer, deadline_s=50)
    assert outcome.kind in {OutcomeKind.LOST_RESULT, OutcomeKind.NO_OUTPUT} | SUBJECTS[name].also
    assert memory() < MEMORY_BYTES_MAX


BOMBS = {
    "blanks": gzip.compress(b'{"choices": [' + b" " * (128 * ONE_MB), 1),
    "base64": gzip.compress(b'{"data": [{"b64_json": "iVBORw0KGgo' + b"A" * (128 * ONE_MB), 1),
    "image": gzip.compress(PNG + bytes(128 * ONE_MB), 1),
}


@NAMES
@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_bomb_does_not_unfold(
    name: str, bomb: str, memory: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was packed is unpacked piece by piece, and no further than any result is long."""
    monkeypatch.setattr(receiving, "IMAGE_BYTES_MAX", 8 * ONE_MB)
    label = "image/png" if bomb == "image" else "application/json"
    headers = {"Content-Encoding": "gzip", "Content-Type": label}
    outcome = await ending(SUBJECTS[name], says(BOMBS[bomb], headers=headers), deadline_s=50)
    assert outcome.kind in {OutcomeKind.LOST_RESULT, OutcomeKind.NO_OUTPUT} | SUBJECTS[name].also
    assert memory() < MEMORY_BYTES_MAX


@NAMES
async def test_a_drip_ends_at_the_deadline(name: str) -> None:
    """A byte now and then keeps no call alive, in a body nor in front of one."""
    subject = SUBJECTS[name]
    for raw in (http(b"{", claimed_bytes=100_000), b"HTTP/1.1 200 OK\r\nX-A: "):
        found: list[Speaker] = []
        drip = drips(raw, lambda found=found: found[0])
        async with speaking(*subject.first, drip) as speaker:
            found.append(speaker)
            provider = subject.provider(speaker.url)
            with pytest.raises(CallFailed) as caught:
                await provider.call(SinkDesk(deadline_s=0.3).call(subject.request(provider)))
            await provider.close()
        kind = caught.value.outcome.kind
        assert kind in {OutcomeKind.LOST_RESULT, OutcomeKind.UNKNOWN} | subject.also


@NAMES
async def test_what_is_not_packed_as_it_says_is_no_result(name: str) -> None:
    """A body that says gzip and is none ends the call: it was paid for and cannot be read."""
    outcome = await ending(SUBJECTS[name], says(b"{}", headers={"Content-Encoding": "gzip"}))
    assert outcome.kind in {OutcomeKind.LOST_RESULT} | SUBJECTS[name].also


@NAMES
async def test_hints_without_end_end_at_the_deadline(name: str) -> None:
    """A server that only ever says that it will answer is not waited for beyond the deadline."""

    async def hints(heard: Heard, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50)
            await writer.drain()
            await asyncio.sleep(0)

    outcome = await ending(SUBJECTS[name], hints, deadline_s=0.3)
    assert outcome.kind in (OutcomeKind.UNKNOWN, OutcomeKind.LOST_RESULT)


# -- statuses ------------------------------------------------------------------------------------

STATUSES = {
    204: {OutcomeKind.NO_OUTPUT},
    206: {OutcomeKind.NO_OUTPUT},
    299: {OutcomeKind.NO_OUTPUT},
    304: {OutcomeKind.INVALID},
    399: {OutcomeKind.INVALID},
    418: {OutcomeKind.INVALID},
    499: {OutcomeKind.TRANSIENT},
    599: {OutcomeKind.UNKNOWN},
    600: {OutcomeKind.TRANSIENT},
    799: {OutcomeKind.TRANSIENT},
    999: {OutcomeKind.TRANSIENT},
}


@NAMES
@pytest.mark.parametrize("status", STATUSES)
async def test_a_status_that_nobody_knows_is_read_by_its_class(name: str, status: int) -> None:
    """An unknown 2xx without a result is no output, 4xx is our mistake, above is the server's."""
    body = b"" if status in (204, 304) else b"{}"
    outcome = await ending(SUBJECTS[name], says(body, status))
    assert outcome.kind in STATUSES[status] | SUBJECTS[name].also


ROWS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "error_responses.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
RECORDED = [
    pytest.param(name, row, id=f"{name}-{row['id']}")
    for name, subject in SUBJECTS.items()
    for row in ROWS
    if subject.has(row)
]
KINDS = {"not_found": OutcomeKind.INVALID, "unknown_outcome": OutcomeKind.UNKNOWN}


@pytest.mark.parametrize(("name", "row"), RECORDED)
async def test_recorded_errors_end_as_they_should(name: str, row: dict[str, Any]) -> None:
    """Every recorded error, sent as HTTP, ends a call with its class and its wait."""
    body = row["body"]
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    outcome = await ending(SUBJECTS[name], says(raw, row["status"], row["headers"]))
    told = row["expect"]["class"]
    kinds = {KINDS.get(told) or OutcomeKind(told)}
    if told == "not_found":
        # A task may be asked for before its region knows it, so it is looked at again.
        kinds |= SUBJECTS[name].also
    if told == "timeout" and not row["expect"]["retry"]:
        # Our own bound on the call's start: only another setting helps.
        kinds.add(OutcomeKind.INVALID)
    assert outcome.kind in kinds
    if row["expect"]["wait_s"] is not None:
        assert outcome.wait_s == pytest.approx(row["expect"]["wait_s"])
