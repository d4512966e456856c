"""What all remote providers share: where a key goes, what is fetched, how jobs are followed."""

from __future__ import annotations

import asyncio
import base64
import tracemalloc
from typing import Any

import aiohttp
import pytest
from yarl import URL

from headrace.bytes_budget import BytesBudget
from headrace.outcome import CallFailed, Outcome, OutcomeKind, failed
from headrace.providers.remote.addresses import Addresses
from headrace.providers.remote.following import Follower, JobFailed
from headrace.providers.remote.http_calls import (
    STEP_BYTES,
    HttpCalls,
    Parcel,
    read_object,
    read_whole,
)
from headrace.providers.remote.media import ANY, FILMS, is_cut_off, media_type_of
from headrace.providers.remote.receiving import fetched
from headrace.providers.simulated.png_body import PngBody
from headrace.request import Request
from headrace.testing import CallDesk, ManualClock
from tests.integration.speaking import Heard, closes_after, http, says, speaking

OFFICIAL = URL("https://api.provider.example/v1")
KEY = {"Authorization": "Bearer secret"}
PNG = PngBody(16, 16).whole(bytes(32))
REQUEST = Request("mine", "m", "1", {})


def calls(base_url: str | URL, **more: Any) -> HttpCalls:
    """Connections of a provider whose official address is another."""
    return HttpCalls(Addresses(URL(base_url), official=OFFICIAL, **more), KEY)


async def pause(number: int) -> None:
    """Do not wait between downloads."""


def test_addresses_of_answers_follow_the_base_url() -> None:
    """Under another base_url an official address is looked for below it, whatever its path."""
    here = calls("http://127.0.0.1:9/proxy/v1", hosts=(".cdn.example",))
    told = "https://api.provider.example/v1/jobs/7?x=a%2Fb"
    assert str(here.addresses.followed(told)) == "http://127.0.0.1:9/proxy/v1/jobs/7?x=a%2Fb"
    assert here.addresses.followed("/v2/jobs").host == "127.0.0.1"
    there = calls(OFFICIAL, hosts=(".cdn.example", "other.example"))
    for own in (told, "https://eu.cdn.example/x", "https://other.example/x"):
        assert str(there.addresses.followed(own)) == own


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/v1/jobs",
        "https://api.provider.example.evil.example/",
        "https://evilcdn.example/",
        "http://eu.cdn.example/plain",
        "https://me:pw@api.provider.example/v1",
        "file:///etc/passwd",
        "https://",
        "x" * 10_000,
        7,
        None,
    ],
)
def test_the_key_follows_no_foreign_address(address: Any) -> None:
    """What is not the provider's own host is no place to ask with a key."""
    with pytest.raises(CallFailed) as caught:
        calls(OFFICIAL, hosts=(".cdn.example",)).addresses.followed(address)
    assert caught.value.outcome.kind is OutcomeKind.NO_OUTPUT


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/x.png",
        "https://[::ffff:10.0.0.1]/x.png",
        "https://localhost/x.png",
        "http://example.com/x.png",
    ],
)
async def test_results_are_not_fetched_from_private_places(address: str) -> None:
    """A result's address that leads inside, or is not https, is refused without a request."""
    here = calls(OFFICIAL)
    try:
        with pytest.raises(CallFailed, match="may not be fetched"):
            await fetched(here, address, CallDesk().call(REQUEST), pause=pause)
    finally:
        await here.close()


async def test_a_result_is_fetched_again_until_it_is_whole() -> None:
    """A download that breaks off is repeated by itself; the call is not."""
    cut = closes_after(http(PNG[:40], claimed_bytes=len(PNG)))
    async with speaking(cut, says({}, 503), says(PNG)) as speaker:
        here = HttpCalls(Addresses(URL(speaker.url)), KEY)
        desk = CallDesk()
        reply = await fetched(here, f"{speaker.url}/out.png", desk.call(REQUEST), pause=pause)
        await here.close()
    assert desk.body_of(reply) == PNG
    assert reply.media_type == "image/png"
    assert [heard.method for heard in speaker.heard] == ["GET"] * 3


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_result_that_is_gone_is_lost(status: int) -> None:
    """An expired address is a lost result: asking again would buy again."""
    async with speaking(says(b"<Error>expired</Error>", status)) as speaker:
        here = HttpCalls(Addresses(URL(speaker.url)), KEY)
        with pytest.raises(CallFailed) as caught:
            await fetched(here, "out.png", CallDesk().call(REQUEST), pause=pause)
        await here.close()
    assert caught.value.outcome.kind is OutcomeKind.LOST_RESULT
    assert len(speaker.heard) == 1


async def test_a_redirect_takes_no_key_along() -> None:
    """The key goes to base_url and not to where a redirect points, though that is allowed."""
    async with speaking(says(PNG)) as other:
        location = {"Location": f"http://127.0.0.1:{other.port}/out.png"}
        async with speaking(says({}, 302, location)) as speaker:
            here = HttpCalls(Addresses(URL(speaker.url), downloads=("127.0.0.1",)), KEY)
            await fetched(here, f"{speaker.url}/go", CallDesk().call(REQUEST), pause=pause)
            await here.close()
    assert speaker.heard[0].headers["authorization"] == "Bearer secret"
    assert "authorization" not in other.heard[0].headers


async def test_redirects_end() -> None:
    """A ring of redirects is left after three."""
    async with speaking(says({}, 302, {"Location": "/v1/again"})) as speaker:
        here = HttpCalls(Addresses(URL(speaker.url)), KEY)
        with pytest.raises(CallFailed, match="again and again"):
            await fetched(here, "go", CallDesk().call(REQUEST), pause=pause)
        await here.close()
    assert len(speaker.heard) == 4


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("data:image/png;base64," + base64.b64encode(PNG).decode(), None),
        ("data:image/png;base64,%%%", OutcomeKind.NO_OUTPUT),
        ("data:image/png", OutcomeKind.NO_OUTPUT),
        ("data:image/svg+xml,<svg/>", OutcomeKind.NO_OUTPUT),
    ],
)
async def test_data_addresses_are_read_in_place(address: str, kind: OutcomeKind | None) -> None:
    """The bytes count, not the type that the address claims."""
    here, desk = calls(OFFICIAL), CallDesk()
    if kind is None:
        reply = await fetched(here, address, desk.call(REQUEST), pause=pause)
        assert desk.body_of(reply) == PNG
        return
    with pytest.raises(CallFailed) as caught:
        await fetched(here, address, desk.call(REQUEST), pause=pause)
    assert caught.value.outcome.kind is kind


async def test_a_form_is_one_post_with_its_fields_and_files() -> None:
    """Fields and files arrive as they were given, odd names included."""
    async with speaking(says({"ok": True})) as speaker:
        here = HttpCalls(Addresses(URL(speaker.url)), KEY)
        form = Parcel()
        form.field("prompt", "eine Mühle\r\n--x")
        form.file("image[]", 'a"b.png', PNG, "image/png")

        async def take(response: aiohttp.ClientResponse) -> int:
            return response.status

        assert await here.post(here.url("edits"), form, 10.0, take) == 200
        await here.close()
    body = speaker.heard[0].body
    assert PNG in body
    assert "eine Mühle".encode() in body
    assert b'name="image[]"' in body
    assert int(speaker.heard[0].headers["content-length"]) == len(body)


async def test_a_form_that_was_sent_and_not_answered_is_unknown() -> None:
    """A paid form is never sent again by itself; one that costs nothing is only transient."""
    async with speaking(closes_after(b"")) as speaker:
        here = HttpCalls(Addresses(URL(speaker.url)), KEY)
        for paid, kind in ((True, OutcomeKind.UNKNOWN), (False, OutcomeKind.TRANSIENT)):
            form = Parcel()
            form.field("a", "b")

            async def take(response: aiohttp.ClientResponse) -> None:
                return None

            with pytest.raises(CallFailed) as caught:
                await here.post(here.url("x"), form, 10.0, take, paid=paid)
            assert caught.value.outcome.kind is kind
        await here.close()


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(12), "image/jpeg"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "audio/wav"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "video/mp4"),
        (b"\0\0\0\x20ftypqt  \0\0\0\0", "video/quicktime"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "image/avif"),
        (b"\x1aE\xdf\xa3" + bytes(12), "video/webm"),
        (b"<html><body>no</", None),
        (b'{"error": "no"}', None),
        (b"", None),
    ],
)
def test_bodies_are_known_by_their_first_bytes(head: bytes, media_type: str | None) -> None:
    """Neither a header nor a name says what a result is."""
    assert media_type_of(head[:16]) == media_type
    assert media_type is None or media_type in ANY


def test_a_body_that_lacks_its_end_is_told() -> None:
    """Formats that mark their end or tell their length are not taken cut off."""
    assert not is_cut_off("image/png", PNG[:16], PNG[-16:], len(PNG))
    assert is_cut_off("image/png", PNG[:16], PNG[:-20][-16:], len(PNG) - 20)
    riff = b"RIFF" + (100).to_bytes(4, "little") + b"WEBPVP8 "
    assert is_cut_off("image/webp", riff, bytes(16), 60)
    assert not is_cut_off("image/webp", riff, bytes(16), 108)
    assert not is_cut_off("video/mp4", bytes(16), bytes(16), 60)
    assert not (FILMS & {"image/png"})


def test_only_an_object_is_read_as_one() -> None:
    """Lists, texts, pages and endless nesting are nothing."""
    assert read_object(b'{"a": 1}') == {"a": 1}
    for odd in (b"[1]", b'"x"', b"<html>", b"", b"\xff", b"[" * 200_000, b"NaN"):
        assert read_object(odd) is None


# -- following ----------------------------------------------------------------------------------


async def test_jobs_share_one_pace_of_looking() -> None:
    """However many jobs there are, looks stay below the provider's own limit."""
    clock = ManualClock()
    follower = Follower(clock, per_minute=60.0)
    at: list[float] = []

    async def one() -> None:
        looks = 0

        async def look() -> int | None:
            nonlocal looks
            looks += 1
            at.append(clock.monotonic_s())
            return 1 if looks == 3 else None

        await follower.follow(look, 600.0, "id")

    await clock.finish(asyncio.gather(*(one() for _ in range(20))))
    gaps = [after - before for before, after in zip(sorted(at), sorted(at)[1:], strict=False)]
    assert len(at) == 60
    assert min(gaps) >= 0.999


async def test_a_look_that_fails_in_passing_says_nothing_of_the_job() -> None:
    """Refused or broken looks are repeated, after the wait that was asked for."""
    clock = ManualClock()
    follower = Follower(clock, per_minute=6000.0)
    answers: list[Any] = [
        failed(OutcomeKind.RATE_LIMITED, "slow", wait_s=30.0),
        failed(OutcomeKind.OVERLOADED, "full"),
        None,
        "done",
    ]

    async def look() -> str | None:
        answer = answers.pop(0)
        if isinstance(answer, CallFailed):
            raise answer
        return answer  # type: ignore[no-any-return]

    begun_s = clock.monotonic_s()
    assert await clock.finish(follower.follow(look, 600.0, "id")) == "done"
    assert clock.monotonic_s() - begun_s > 30.0


async def test_a_job_past_its_deadline_is_unknown_under_its_id() -> None:
    """It is not failed: it runs on, and is followed later under the same id."""
    clock = ManualClock()

    async def look() -> None:
        return None

    with pytest.raises(CallFailed) as caught:
        await clock.finish(Follower(clock, per_minute=600.0).follow(look, 60.0, "job-7"))
    assert caught.value.outcome.kind is OutcomeKind.UNKNOWN
    assert caught.value.outcome.provider_request_id == "job-7"


async def test_a_job_that_failed_ends_at_once() -> None:
    """What is said of the job itself is not looked at again."""
    clock, looks = ManualClock(), []

    async def look() -> None:
        looks.append(1)
        raise JobFailed(Outcome(OutcomeKind.TRANSIENT, "it broke"))

    with pytest.raises(CallFailed, match="it broke"):
        await clock.finish(Follower(clock, per_minute=600.0).follow(look, 60.0, "job-7"))
    assert len(looks) == 1


# -- the budget of bytes -------------------------------------------------------------------------


async def test_many_large_answers_at_once_stay_within_the_budget() -> None:
    """Two hundred answers of 2 MB, side by side, are held in the memory of a few of them."""
    count, size, most = 200, 2_000_000, 16_000_000
    budget, piece = BytesBudget(most), b" " * 65536
    held_most = 0

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(http(b"{", claimed_bytes=size))
        left = size - 1
        while left:
            writer.write(piece[:left])
            left -= min(left, len(piece))
            await writer.drain()

    async def take(response: aiohttp.ClientResponse) -> int:
        nonlocal held_most
        body = await read_whole(response)
        held_most = max(held_most, budget.used_bytes)
        return len(body)

    async with speaking(answer) as speaker:
        client = HttpCalls(Addresses(URL(speaker.url)), {}, budget)
        tracemalloc.start()
        posts = [client.post(client.url("x"), b"{}", 60, take) for _ in range(count)]
        sizes = await asyncio.gather(*posts)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        await client.close()
    assert sizes == [size] * count
    assert held_most <= most + 2 * size + 2 * STEP_BYTES
    # Beside the budget, each connection has its buffers, here and at the server.
    assert peak_bytes < most + count * 400_000, peak_bytes
    assert budget.used_bytes == 0


async def test_a_call_that_gives_up_gives_its_bytes_back() -> None:
    """A body that breaks off, is too long or is cancelled holds nothing afterwards."""
    budget = BytesBudget(4_000_000)
    async with speaking(closes_after(http(b" " * 3_000_000, claimed_bytes=9_000_000))) as speaker:
        client = HttpCalls(Addresses(URL(speaker.url)), {}, budget)
        for most in (1_000_000, 8_000_000):

            async def take(response: aiohttp.ClientResponse, most: int = most) -> bytes:
                return await read_whole(response, most)

            with pytest.raises(CallFailed):
                await client.post(client.url("x"), b"{}", 30, take)
            assert budget.used_bytes == 0
        await client.close()


async def test_word_of_an_end_lets_a_job_be_looked_at_now() -> None:
    """However long the next look is away, and also when word came before anybody followed."""
    clock = ManualClock()
    follower = Follower(clock, per_minute=6000.0, first_s=600.0, most_s=600.0)
    done: set[str] = set()
    looks: list[str] = []

    def look_at(name: str) -> Any:
        async def look() -> str | None:
            looks.append(name)
            return name if name in done else None

        return look

    early, late = (
        asyncio.ensure_future(follower.follow(look_at(name), 3000.0, name))
        for name in ("early", "late")
    )
    await clock.advance(0.0)
    assert looks == []
    follower.wake("early")
    follower.wake("unborn")
    await clock.advance(0.1)
    assert looks == ["early"]
    done.update({"early", "late", "unborn"})
    follower.wake("early")
    await clock.advance(0.1)
    assert early.done()
    assert not late.done()
    assert await clock.finish(follower.follow(look_at("unborn"), 3000.0, "unborn"), 1.0)
    assert await clock.finish(late) == "late"
    assert clock.monotonic_s() >= 600.0
