"""Pictures shown while they are bought: official client, real engine, a clock moved by hand."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from headrace.access import Scope
from headrace.http.showing import Showing
from headrace.http.streams import IMAGE_PIECE_BYTES, live_image
from headrace.http.telling import Telling
from headrace.live_text import Listener, LiveText
from headrace.preview import Preview
from headrace.store import keys
from headrace.testing import ManualClock
from tests.integration.hearing import (
    BOOKED,
    PRICE,
    SECONDS,
    api,
    bought,
    client,
    clock,
    rows,
    slow,
    step,
    until,
    until_over,
)
from tests.integration.test_http import Served, served
from tests.integration.test_tenants import tenant

__all__ = ["api", "client", "clock"]
MODEL = "sim:gpt-image-2"
TABLE: dict[str, Any] = {
    "models": ["gpt-image-2"],
    "price_microcredits": PRICE,
    "prices": {"gpt-image-2": {"input_usd_per_million": 5, "image_output_usd_per_million": 30}},
}
GENERATED = b"trainedAlgorithmicMedia"
PARTIAL, COMPLETED = "image_generation.partial_image", "image_generation.completed"


@pytest.fixture
def table() -> dict[str, Any]:
    return TABLE


class Watching:
    """A stream of one picture that is read by a task: its events so far."""

    def __init__(self, client: openai.AsyncOpenAI, partial_images: int = 2, **more: Any) -> None:
        self.events: list[Any] = []
        told: dict[str, Any] = {"model": MODEL, "prompt": "a mill", "size": "1024x1024", **more}
        self.task = asyncio.create_task(self._read(client, partial_images, told))

    async def _read(
        self, client: openai.AsyncOpenAI, partial_images: int, told: dict[str, Any]
    ) -> None:
        stream = await client.images.generate(stream=True, partial_images=partial_images, **told)
        async for event in stream:
            self.events.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.events]


async def begun(
    clock: ManualClock, api: Served, client: openai.AsyncOpenAI, **more: Any
) -> Watching:
    """A stream of which the first preview is shown, and the provider has not made the picture."""
    watching = Watching(client, **more)
    await step(clock, SECONDS / 3)
    await until(lambda: bool(watching.events))
    assert api.simulator.lane.in_flight == 1
    return watching


async def ended(clock: ManualClock, watching: Watching) -> Watching:
    """The stream at its end, each part of it told before the provider gives the next."""

    def moves(seen: int) -> bool:
        return len(watching.events) > seen or watching.task.done()

    seen = len(watching.events)
    while not watching.task.done():
        await until(lambda: bool(clock.sleepers) or watching.task.done())
        await clock.advance(SECONDS / 3)
        for _ in range(200):  # a part that nobody is to see moves nothing
            if moves(seen):
                break
            await asyncio.sleep(0)
        seen = len(watching.events)
    await watching.task
    return watching


async def whole(clock: ManualClock, client: openai.AsyncOpenAI, **more: Any) -> Any:
    """A picture that is not streamed."""
    told: dict[str, Any] = {"model": MODEL, "prompt": "a mill", "size": "1024x1024", **more}
    return await bought(clock, client.images.generate(**told))


def body_of(event: Any) -> bytes:
    body = base64.b64decode(event.b64_json)
    with Image.open(io.BytesIO(body)) as image:
        image.load()
    return body


async def test_no_previews_where_the_call_may_be_sent_again_under_its_key(
    database_url: str, tmp_path: Path, clock: ManualClock
) -> None:
    """Asked again it has to be the same call, whoever watches then: the picture comes alone."""
    table = {**TABLE, "crash_class": "A"}
    async with (
        served(database_url, tmp_path, clock=clock, sim=table) as api,
        api.client() as client,
    ):
        slow(api, crash_class="A")
        watching = Watching(client)
        await step(clock, SECONDS)
        await watching.task
        assert watching.kinds == [COMPLETED]


async def test_previews_come_before_the_picture_is_made(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """Each has the fields of OpenAI's event and says that a model made it; then the picture."""
    watching = await ended(clock, await begun(clock, api, client))
    assert watching.kinds == [PARTIAL, PARTIAL, COMPLETED]
    first, second, last = watching.events
    assert [first.partial_image_index, second.partial_image_index] == [0, 1]
    for event in watching.events:
        body = body_of(event)
        assert GENERATED in body
        assert (event.output_format, event.quality) == ("png", "high")
        assert event.created_at > 0
    assert len({event.b64_json for event in watching.events}) == 3
    assert last.usage.output_tokens == 1000 + 200
    (told,) = await rows(api, BOOKED)
    assert (told["state"], told["cost_estimate_microusd"]) == ("succeeded", 2 * 5 + 1200 * 30)
    assert told["transfers"] == [f"(reserve,{PRICE})", f"(post,{PRICE})"]


async def test_previews_are_kept_nowhere_and_make_no_other_request(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """However many are asked for it is the same picture in the cache; a hit shows none."""
    watching = await ended(clock, await begun(clock, api, client))
    kept = await rows(api, "SELECT sha256, size_bytes FROM artifact")
    assert len(kept) == 1
    plain = await whole(clock, client)
    assert plain.data[0].b64_json == watching.events[-1].b64_json
    for count in (0, 3):
        again = Watching(client, count)
        await again.task
        assert again.kinds == [COMPLETED]
        assert again.events[0].b64_json == watching.events[-1].b64_json
    assert len(api.simulator.truth.calls) == 1
    assert len(await rows(api, "SELECT 1 FROM artifact")) == 1
    shown = [hashlib.sha256(body_of(event)).digest() for event in watching.events[:2]]
    assert not {one["sha256"] for one in kept} & set(shown)


@pytest.mark.parametrize("more", [{"n": 2}, {"partial_images": 0}], ids=["two", "none"])
async def test_without_previews_there_is_the_picture_alone(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock, more: dict[str, Any]
) -> None:
    """Several pictures at once are told when they are complete, as are all that ask for none."""
    slow(api, latency={"median_s": 0.0})
    watching = Watching(client, **more)
    async with asyncio.timeout(60):
        await watching.task
    assert watching.kinds == [COMPLETED] * more.get("n", 1)
    assert watching.events[0].usage.output_tokens == 1000


async def test_who_hangs_up_midway_finds_it_in_the_cache(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """The purchase goes on without its reader, and is served to the next one."""
    watching = await begun(clock, api, client)
    watching.task.cancel()
    await asyncio.gather(watching.task, return_exceptions=True)
    await clock.advance(SECONDS)
    again = await whole(clock, client)
    assert again.data[0].b64_json
    assert len(api.simulator.truth.calls) == 1


async def test_a_call_that_breaks_off_is_judged_as_if_nobody_watched(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """A preview promises nothing: the picture is bought again, once, and charged once."""
    slow(api, faults=[{"kind": "reset_midway", "until_s": 1.0}])
    watching = await begun(clock, api, client, partial_images=3)
    await ended(clock, watching)
    assert watching.kinds == [PARTIAL] * 3 + [COMPLETED]
    first, second = await rows(api, BOOKED)
    assert (first["state"], first["outcome"]) == ("resolved", "lost_result")
    assert (second["state"], second["item"]) == ("succeeded", "succeeded")
    assert f"(post,{PRICE})" in second["transfers"]
    assert f"(void,{PRICE})" not in second["transfers"]


async def test_a_picture_that_never_comes_is_an_error_and_no_charge(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """Previews are no success: the client raises, nothing is kept or charged."""
    slow(api, faults=[{"kind": "reset_midway"}])
    watching = await begun(clock, api, client, partial_images=3)
    with pytest.raises(openai.APIError) as caught:
        await ended(clock, watching)
    assert caught.value.code == "lost_result"
    assert COMPLETED not in watching.kinds
    await until_over(api)
    told = await rows(api, BOOKED)
    assert {row["outcome"] for row in told} == {"lost_result"}
    assert {row["item"] for row in told} == {"failed"}
    assert f"(void,{PRICE})" in told[0]["transfers"]
    assert f"(post,{PRICE})" not in told[0]["transfers"]
    assert not await rows(api, "SELECT 1 FROM artifact")


async def test_an_error_before_the_first_preview_has_its_own_status(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """What is refused at once is a bad request, not a stream with an error in it."""
    slow(api, refuse_word="casino")
    watching = Watching(client, prompt="a casino")
    await step(clock, SECONDS)
    with pytest.raises(openai.BadRequestError) as caught:
        await watching.task
    assert caught.value.code == "content_policy_violation"


async def test_the_same_streams_share_one_call(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """Who joins later sees the last preview and what follows, no more than it asked for."""
    first = await begun(clock, api, client, partial_images=3)
    second = Watching(client, 1)
    await until(lambda: bool(second.events))
    assert api.simulator.lane.in_flight == 1
    await ended(clock, first)
    await second.task
    assert first.kinds == [PARTIAL, PARTIAL, PARTIAL, COMPLETED]
    assert second.kinds == [PARTIAL, COMPLETED]
    assert first.events[-1].b64_json == second.events[-1].b64_json
    assert len(api.simulator.truth.calls) == 1


async def test_a_plan_with_a_mark_shows_nothing_without_it(
    api: Served, client: openai.AsyncOpenAI, clock: ManualClock
) -> None:
    """Under a watermark no preview is asked for, and none is shown."""
    await tenant(api.engine, watermark="TRIAL")
    async with api.engine.database.transaction() as connection:
        key, _ = await keys.make(connection, "acme", "a", Scope.SUBMIT, api.engine.clock.now())
    slow(api, latency={"median_s": 0.0})
    async with openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key=key, max_retries=0) as theirs:
        watching = Watching(theirs, 3)
        async with asyncio.timeout(60):
            await watching.task
    assert watching.kinds == [COMPLETED]
    assert watching.events[0].usage.output_tokens == 1000, "none were asked for"


@pytest.mark.parametrize(
    "policy",
    [
        {"rules": [{"name": "w", "words": ["mill"], "on": "artifact"}]},
        {"hooks": [{"name": "j", "url": "http://127.0.0.1:9/j", "on": "artifact", "attempts": 1,
                    "on_failure": "open"}]},
    ],
    ids=["a rule", "a hook"],
)  # fmt: skip
async def test_what_is_judged_before_it_is_handed_out_is_shown_when_it_was(
    database_url: str, tmp_path: Path, policy: dict[str, Any]
) -> None:
    """Where somebody looks at what is made, nobody sees it before."""
    async with (
        served(database_url, tmp_path, policy=policy, sim=TABLE) as api,
        api.client() as client,
    ):
        watching = Watching(client, 3)
        async with asyncio.timeout(60):
            await watching.task
    assert watching.kinds == [COMPLETED]
    assert watching.events[0].usage.output_tokens == 1000, "none were asked for"


async def test_a_slow_reader_misses_previews_and_holds_none() -> None:
    """While a preview is on its way out only the last one waits; none is held in between."""
    text, listener = LiveText(), Listener(previews_max=3)
    listener.attach(text, sees=True)
    telling = Telling("x", ManualClock().now(), listener)
    answering: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    telling.answering = answering  # type: ignore[assignment]
    bodies = [bytes([number]) * (3 * IMAGE_PIECE_BYTES) for number in range(4)]
    text.show(Preview(0, "image/png", bodies[0]))
    showing = Showing(telling)
    assert await showing.begins()

    async def files(answered: Any) -> list[Any]:
        return [(b"whole", "png", {})]

    pieces = live_image(showing, {}, telling.at, files)
    told = [await anext(pieces) for _ in range(3)]
    for number in (1, 2, 3):
        text.show(Preview(number, "image/png", bodies[number]))
    assert text.preview is not None
    assert text.preview.body is bodies[3]
    while len(b"".join(told).split(b"event: ")) < 3:
        told.append(await anext(pieces))
    answering.set_result(None)
    rest = b"".join(told) + b"".join([piece async for piece in pieces])
    events = [one.partition(b"\n")[0].decode() for one in rest.split(b"event: ")[1:]]
    assert events == [PARTIAL, PARTIAL, COMPLETED]
    assert b'"partial_image_index":3' in rest
    assert max(map(len, told)) <= 2 * IMAGE_PIECE_BYTES
    assert not text.previews_wanted
