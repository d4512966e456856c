"""What is said to Google and what it says back, as values: params, endings, a day's quota."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.limits import Load
from headrace.outcome import CallFailed, OutcomeKind
from headrace.providers.google import gemini_messages as messages
from headrace.providers.google.gemini_replies import Told, day_wait_s, read_told, unfit
from headrace.providers.remote.inlined import Inlined
from headrace.request import Request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "candidates",
                    "content",
                    "parts",
                    "text",
                    "inlineData",
                    "data",
                    "thought",
                    "finishReason",
                    "promptFeedback",
                    "blockReason",
                    "usageMetadata",
                    "promptTokenCount",
                    "candidatesTokensDetails",
                    "modality",
                    "tokenCount",
                    "modelVersion",
                    "responseId",
                    "error",
                    "functionCall",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


def ask(model: str = "gemini-x", **params: Any) -> Request:
    return Request("g", model, "1", {"prompt": "A card", **params})


def body(model: str = "gemini-x", **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(messages.body_of(ask(model, **params)))
    return found


def test_params_go_where_google_has_them() -> None:
    """Names in small letters and the API's own, cells as numbers, a table for all others."""
    found = body(
        system="Be brief",
        temperature="0.5",
        top_p=0.9,
        topK="40",
        max_tokens="500",
        seed=7,
        stop="END",
        include_thoughts="True",
        thinking_budget="0",
        safety_settings=[{"category": "C"}],
        tools=[{"google_search": {}}],
        labels={"a": "b"},
        config={"speechConfig": {"x": 1}, "top_k": "3", "maxOutputTokens": 9},
    )
    assert found == {
        "contents": [{"role": "user", "parts": [{"text": "A card"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief"}]},
        "generationConfig": {
            "speechConfig": {"x": 1},
            "topK": 40,
            "maxOutputTokens": 500,
            "temperature": 0.5,
            "topP": 0.9,
            "seed": 7,
            "stopSequences": ["END"],
            "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 0},
        },
        "safetySettings": [{"category": "C"}],
        "tools": [{"google_search": {}}],
        "labels": {"a": "b"},
    }


@pytest.mark.parametrize("name", ["response_schema", "responseJsonSchema"])
def test_a_schema_asks_for_json(name: str) -> None:
    """With a schema goes the media type that it needs."""
    config = body(**{name: {"type": "object"}})["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert messages.wants_json(ask(**{name: {}}))
    assert messages.wants_json(ask(config={"responseMimeType": "application/json"}))
    assert not messages.wants_json(ask(**{name: {}, "response_mime_type": "text/plain"}))


def test_an_image_is_asked_for_by_modality_or_name() -> None:
    """Models that paint are told so, in the form that was recorded; modalities decide."""
    found = body("gemini-2.5-flash-image", aspect_ratio="16:9", image_config={"imageSize": "1K"})
    assert found["generationConfig"] == {
        "imageConfig": {"aspectRatio": "16:9", "imageSize": "1K"},
        "responseModalities": ["TEXT", "IMAGE"],
    }
    assert messages.paints(ask("gemini-x", config={"responseModalities": ["IMAGE"]}))
    assert messages.paints(ask("gemini-x", response_modalities="image"))
    assert not messages.paints(ask("gemini-2.5-flash-image", response_modalities=["TEXT"]))
    assert not messages.paints(ask("gemini-x"))


def test_contents_and_pictures_stand_before_the_prompt() -> None:
    """A conversation goes first; pictures go in beside the prompt, their markers do not."""
    given_ = ask(contents=[{"role": "model", "parts": []}], image={"source": 0})
    found = json.loads(messages.body_of(given_, [Inlined("image/png", b"abc")]))
    picture = {"inlineData": {"mimeType": "image/png", "data": "YWJj"}}
    assert found == {
        "contents": [
            {"role": "model", "parts": []},
            {"role": "user", "parts": [picture, {"text": "A card"}]},
        ]
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "warm"),
        ("seed", 1.5),
        ("top_k", True),
        ("maxOutputTokens", "1e999"),
        ("candidate_count", 2),
        ("n", "3"),
        ("contents", "hello"),
        ("config", [1]),
        ("config", {"seed": "x"}),
        ("response_modalities", ["AUDIO"]),
        ("response_schema", "{}"),
        ("stop", 5),
        ("include_thoughts", "perhaps"),
        ("model", "x"),
        ("stream", True),
    ],
)
def test_a_wrong_param_is_said_and_never_sent(name: str, value: Any) -> None:
    """Recipes are told before the batch, rows at their call."""
    wrong = messages.wrong_param(name, value)
    assert name in wrong or "seed" in wrong
    with pytest.raises(CallFailed) as caught:
        messages.body_of(Request("g", "m", "1", {"prompt": "A card", name: value}))
    assert caught.value.outcome.kind is OutcomeKind.INVALID


def test_nothing_to_say_is_invalid() -> None:
    """Without a prompt, contents and pictures nothing is sent."""
    with pytest.raises(CallFailed):
        messages.body_of(Request("g", "m", "1", {}))
    with pytest.raises(CallFailed, match="JSON"):
        messages.body_of(ask(prompt="\ud800"))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from([*messages._FIELDS, "config", "prompt", "n"]), JSON))
def test_any_params_are_a_body_or_invalid(params: dict[str, Any]) -> None:
    """Whatever a row or recipe holds: JSON, or an outcome that says what is wrong."""
    request = Request("g", "m", "1", params)
    messages.load_of(request)
    messages.wants_json(request)
    if any(messages.wrong_param(name, value) for name, value in params.items()):
        with pytest.raises(CallFailed):
            messages.body_of(request)
        return
    try:
        json.loads(messages.body_of(request))
    except CallFailed as failure:
        kind = failure.outcome.kind
        assert kind is OutcomeKind.INVALID


def test_the_load_is_what_goes_in() -> None:
    """Four bytes a token, the pictures, and one image where one is painted."""
    assert messages.load_of(ask(prompt="a" * 400, max_tokens=9)) == Load(tokens=108, tokens_in=108)
    assert messages.load_of(ask("m-image", prompt="", pictures=[{"source": 0}] * 2)) == Load(
        tokens=2248, images=1, tokens_in=2248
    )


REFUSED, AGAIN, INVALID = OutcomeKind.REFUSED, OutcomeKind.NO_OUTPUT, OutcomeKind.INVALID
ENDINGS: list[tuple[Told, bool, OutcomeKind | None]] = [
    (Told(text="Hi", finish="STOP"), False, None),
    (Told(text="Hi", finish="A_NEW_REASON"), False, None),
    (Told(text="Hi", finish="MAX_TOKENS"), False, None),
    (Told(finish="MAX_TOKENS"), False, INVALID),
    (Told(finish="STOP"), False, AGAIN),
    (Told(text="half", finish="OTHER"), False, AGAIN),
    (Told(finish="MALFORMED_RESPONSE"), False, AGAIN),
    (Told(finish="STOP", calls=True), False, INVALID),
    (Told(images=(0,), finish="STOP"), True, None),
    (Told(text="Here", images=(0,)), True, None),
    (Told(images=(0,), finish="NO_IMAGE"), True, None),
    (Told(text="I cannot draw", finish="STOP"), True, AGAIN),
    (Told(finish="NO_IMAGE"), True, AGAIN),
    (Told(finish="IMAGE_OTHER"), True, AGAIN),
    (Told(blocked="BLOCK_REASON_UNSPECIFIED"), False, AGAIN),
    *[
        (Told(text="part", images=(0,), finish=reason), paints, REFUSED)
        for reason in [
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
            "MODEL_ARMOR",
        ]
        for paints in (False, True)
    ],
    *[
        (Told(blocked=reason), False, REFUSED)
        for reason in [
            "SAFETY",
            "OTHER",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "IMAGE_SAFETY",
            "MODEL_ARMOR",
            "JAILBREAK",
        ]
    ],
]


@pytest.mark.parametrize(("told", "paints", "kind"), ENDINGS)
def test_every_documented_ending(told: Told, paints: bool, kind: OutcomeKind | None) -> None:
    """Refused, again, cut off or a result: by the reasons that Google documents."""
    outcome = unfit(told, paints)
    assert (outcome and outcome.kind) is kind
    if outcome is not None:
        assert outcome.reason
        assert outcome.remedy
        assert told.finish in outcome.reason or kind is INVALID or told.text


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(JSON)
def test_any_json_is_read(value: Any) -> None:
    """Whatever form an answer has, it is read or is none."""
    told = read_told(json.dumps(value).encode())
    if told is not None:
        unfit(told, True), unfit(told, False), told.facts()


@given(st.binary(max_size=60))
def test_any_bytes_are_read(raw: bytes) -> None:
    """What is no JSON object is nothing."""
    assert read_told(raw) is None or isinstance(read_told(raw), Told)
    assert read_told(b"[" * 90_000) is None


def test_thoughts_are_no_answer() -> None:
    """Words and pictures of thinking are passed over; usage by modality has names of its own."""
    picture = {"inlineData": {"data": "0"}}
    parts = [
        {"text": "Hm", "thought": True},
        {**picture, "thought": True},
        {"inlineData": {"data": "1"}},
        {"text": "Done"},
        {"inlineData": {"data": "9" * 5000}},
    ]
    usage = {
        "promptTokenCount": 9,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}, 5],
    }
    raw = {"candidates": [{"content": {"parts": parts}}], "usageMetadata": usage}
    told = read_told(json.dumps(raw).encode())
    assert told is not None
    assert (told.text, told.images, told.prompt_tokens) == ("Done", (1,), 9)
    assert told.usage == {"promptTokenCount": 9, "candidatesImageTokenCount": 1290}


@pytest.mark.parametrize(
    ("now", "hours"),
    [("2026-01-15T20:00:00", 12), ("2026-07-15T20:00:00", 11), ("2026-03-08T09:30:00", 21.5)],
)
def test_a_days_quota_waits_for_midnight_in_california(now: str, hours: float) -> None:
    """In winter, in summer, and on the day that has 23 hours."""
    quota = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}
    error: dict[str, Any] = {"details": [{"violations": [quota]}], "message": "limit: 250"}
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert day_wait_s({"error": error}, at) == hours * 3600
    assert day_wait_s({"error": {**error, "message": "x, limit: 0, model: y"}}, at) is None
    assert day_wait_s({"error": {"message": "no"}}, at) is None
