"""Google's models answered in pieces: what is said, what it makes, and every broken end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import Reply
from headrace.providers.google.vertex import VertexProvider
from headrace.testing import CallDesk
from tests.integration.calling import listened_at
from tests.integration.speaking import Answer, Heard, http, resets_after, says, speaking, speaks
from tests.integration.test_gemini import (
    CLOCK,
    PAINTER,
    PNG,
    PRICES,
    RECORDED,
    USAGE,
    ask,
    made,
    picture,
    provider_at,
    said,
    whole,
)

EVENTS = {"Content-Type": "text/event-stream"}
ABOUT = {"modelVersion": "gemini-x-001", "responseId": "r7"}
SO_FAR = {"promptTokenCount": 9, "totalTokenCount": 9}


def words(text: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {**said({"text": text}, finish=finish), "usageMetadata": SO_FAR, **ABOUT, **more}


def ends(why: str = "STOP", text: str = "") -> dict[str, Any]:
    return {**said({"text": text}, finish=why), **ABOUT}


def stream(pieces: Iterable[Any]) -> bytes:
    """The pieces as they go over the wire; a text as it stands."""
    told = [one if isinstance(one, str) else f"data: {json.dumps(one)}\r\n\r\n" for one in pieces]
    return "".join(told).encode()


def streams(*pieces: Any) -> Answer:
    return speaks(http(stream(pieces), headers=EVENTS))


async def heard_of(
    answer: Answer, model: str = "gemini-x", params: dict[str, Any] | None = None, **table: Any
) -> tuple[Reply | Outcome, list[str], Heard]:
    """How one call ends that somebody listens to, what was said, and what the server heard."""
    return await listened_at(answer, made(**table), ask(model, **params or {}))


async def outcome_of(answer: Answer, **table: Any) -> tuple[Outcome, list[str]]:
    end, heard, _ = await heard_of(answer, **table)
    assert isinstance(end, Outcome), end
    return end, heard


async def test_a_text_in_pieces_is_the_text_that_came_whole() -> None:
    """Each piece is said once; text, usage, cost, model and id are those of a whole answer."""
    end, heard, asked = await heard_of(
        streams(words("Grüße, "), words("世界"), ends()), prices=PRICES
    )
    assert heard == ["Grüße, ", "世界"]
    assert asked.path == "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
    answer = said({"text": "Grüße, 世界"}, **ABOUT)
    other, nothing, asked_whole = await heard_of(says(answer), prices=PRICES, streams=False)
    assert asked_whole.path == "/v1beta/models/gemini-x:generateContent"
    assert (asked_whole.body, nothing) == (asked.body, [])
    assert end == other
    assert isinstance(end, Reply)
    assert (end.facts["usage"], end.estimate_microusd) == (USAGE, 9 + 50)


@pytest.mark.parametrize("name", ["text in pieces", "text in pieces again"])
async def test_recorded_pieces_are_heard_without_their_thoughts(name: str) -> None:
    """What was recorded from Google: thoughts and signatures are not told, their tokens count."""
    pieces = whole(RECORDED[name]["answered"], PNG)
    end, heard, _ = await heard_of(streams(*pieces), "gemini-flash-latest")
    assert isinstance(end, Reply)
    assert (heard, end.body) == (["Scoop"], b"Scoop")
    last = RECORDED[name]["answered"][-1]
    assert end.facts["usage"]["thoughtsTokenCount"] == last["usageMetadata"]["thoughtsTokenCount"]
    assert end.provider_request_id == last["responseId"]


async def test_vertex_is_asked_for_pieces_too() -> None:
    """The other door to the same models has the same verb."""
    heard: list[str] = []
    async with speaking(streams(words("Hi"), ends())) as speaker:
        table = {"base_url": speaker.origin, "project": "p-1"}
        provider = VertexProvider.from_config("cloud", table, CLOCK)
        reply = await provider.call(replace(CallDesk().call(ask()), say=heard.append))
        off = VertexProvider.from_config("cloud", {**table, "streams": False}, CLOCK)
        with pytest.raises(CallFailed):
            await off.call(replace(CallDesk().call(ask()), say=heard.append))
        await provider.close()
        await off.close()
    assert (heard, reply.body) == (["Hi"], b"Hi")
    paths = [one.path.rpartition(":")[2] for one in speaker.heard]
    assert paths == ["streamGenerateContent?alt=sse", "generateContent"]


async def test_images_and_unheard_texts_are_asked_for_whole() -> None:
    """Nobody can be told a part of a picture, nor where nobody listens."""
    _, heard, asked = await heard_of(says(said(picture(PNG))), PAINTER)
    assert (heard, asked.path.rpartition(":")[2]) == ([], "generateContent")
    async with speaking(says(said({"text": "x"}))) as speaker:
        provider = provider_at(speaker.origin)
        await provider.call(CallDesk().call(ask()))
        await provider.close()
    assert speaker.heard[0].path.endswith(":generateContent")


async def test_a_server_that_answers_whole_is_taken_at_that() -> None:
    """Nothing is said, and the result is the same."""
    end, heard, _ = await heard_of(says(said({"text": "Hi"})))
    assert isinstance(end, Reply)
    assert (heard, end.body) == ([], b"Hi")


@pytest.mark.parametrize(
    "pieces",
    [
        [words("half")],
        [words("half"), 'data: {"candidates": [{"cont'],
        [words("half"), "data: [1]\r\n\r\n"],
        [words("half", finish="FINISH_REASON_UNSPECIFIED")],
        [words("of a model that always says why", finish="STOP"), words(", but not now")],
        [{"usageMetadata": SO_FAR}],
        [],
    ],
    ids=[
        "no reason",
        "half a piece",
        "no piece",
        "no word",
        "no last reason",
        "no words",
        "silence",
    ],
)
async def test_half_a_text_is_no_result(pieces: list[Any]) -> None:
    """An answer that does not say why it ends is lost, and not a success."""
    outcome, _ = await outcome_of(streams(*pieces))
    assert outcome.kind is OutcomeKind.LOST_RESULT
    assert outcome.remedy


async def test_a_reset_midway_is_a_lost_result() -> None:
    """What was said until then was said; the call has no result."""
    raw = http(stream([words("half a")]), headers=EVENTS, claimed_bytes=10_000)
    outcome, _ = await outcome_of(resets_after(raw))
    assert outcome.kind is OutcomeKind.LOST_RESULT


async def test_a_reason_with_each_piece_ends_nothing() -> None:
    """Older models say STOP with every piece: all of them are the text."""
    pieces = [words("a ", finish="STOP"), words("b ", finish="STOP"), ends(text="c")]
    end, heard, _ = await heard_of(streams(*pieces))
    assert isinstance(end, Reply)
    assert (heard, end.body) == (["a ", "b ", "c"], b"a b c")


OVERLOADED = {
    "error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
}
SLOWER = {"error": {"code": 429, "message": "Resource has been exhausted."}}


@pytest.mark.parametrize(
    "piece",
    [OVERLOADED, json.dumps(OVERLOADED, indent=2), json.dumps(OVERLOADED) + "\n\n"],
    ids=["event", "lines without an end", "one line"],
)
async def test_an_error_midway_is_what_it_says(piece: Any) -> None:
    """As an event or as bare JSON on lines of its own, which is how Google tells it."""
    outcome, heard = await outcome_of(streams(words("half"), piece), prices=PRICES)
    assert outcome.kind is OutcomeKind.OVERLOADED
    assert (heard, outcome.estimate_microusd) == (["half"], None)


async def test_an_error_before_the_stream_is_any_error() -> None:
    """A status that is no success is read as always."""
    outcome, heard = await outcome_of(says(SLOWER, 429))
    assert (outcome.kind, heard) == (OutcomeKind.RATE_LIMITED, [])


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ([{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USAGE}], "refused"),
        ([words("so"), ends("SAFETY")], "refused"),
        ([words("so"), ends("OTHER")], "no_output"),
        ([{**said({"text": "Hm", "thought": True}, finish="STOP")}], "no_output"),
        ([said(finish="MAX_TOKENS")], "invalid"),
        ([said({"functionCall": {"name": "f"}}, finish=None), ends()], "invalid"),
    ],
    ids=["blocked", "withheld", "again", "only thoughts", "cut off", "a call"],
)
async def test_endings_are_those_of_whole_answers(pieces: list[Any], kind: str) -> None:
    """Refused, empty, cut off before the first word: one reading for both, with the usage."""
    outcome, _ = await outcome_of(streams(*pieces), prices=PRICES)
    assert outcome.kind.value == kind
    assert outcome.facts["usage"] == USAGE
    assert outcome.estimate_microusd == 9 + 50


async def test_a_text_at_its_most_tokens_is_cut() -> None:
    """It is a success that says so."""
    end, _, _ = await heard_of(streams(words("half a"), ends("MAX_TOKENS")))
    assert isinstance(end, Reply)
    assert end.facts["truncated"] is True


async def test_odd_but_lawful_pieces_are_read() -> None:
    """Comments, names of events, other candidates, half letters, parts of odd kinds."""
    other = {**words("no"), "candidates": [{"index": 1, "content": {"parts": [{"text": "no"}]}}]}
    halves = [json.dumps(words("X")).replace("X", half) for half in ("\\ud83d", "\\ude00 ok")]
    odd = {"candidates": [5, {"content": {"parts": [7, {"text": 8}, {"executableCode": {}}]}}]}
    told = [": hello\r\n\r\n", *(f"event: x\ndata: {one}\n\n" for one in halves), other, odd]
    end, heard, _ = await heard_of(streams(*told, ends()))
    assert isinstance(end, Reply)
    assert (heard, end.body) == (["😀 ok"], "😀 ok".encode())
