"""Texts that are heard while they are bought: places, ends, room."""

from __future__ import annotations

from uuid import uuid4

from headrace.flights import Flights
from headrace.live_text import LIVE_CHARS_MAX, Listener, Listeners, LiveText
from headrace.outcome import Outcome, OutcomeKind
from headrace.preview import Preview

BROKEN = Outcome(OutcomeKind.LOST_RESULT, "broken")


async def test_each_hears_all_of_it_at_its_own_pace() -> None:
    """Who is slow, or comes late, takes what was said meanwhile as one piece."""
    text, quick, slow, late = LiveText(), Listener(), Listener(), Listener()
    for one in (quick, slow):
        one.attach(text)
    assert text.is_wanted
    heard = ""
    for piece in ("a", "b", "c"):
        text.say(piece)
        heard += quick.take()
    late.attach(text)
    assert heard == slow.take() == late.take() == late.heard() == "abc"
    assert not text.is_wanted
    assert slow.take() == ""


async def test_who_has_heard_a_part_hears_no_other_text() -> None:
    """One that nobody has heard may be begun anew; after that it ends with how it broke."""
    first, second, listener, other = LiveText(), LiveText(), Listener(), Listener()
    for one in (listener, other):
        one.attach(first)
    first.say("half")
    assert listener.take() == "half"
    first.break_off(BROKEN)
    assert first.is_heard
    assert (listener.cut_off, other.cut_off) == (BROKEN, None)
    assert other.take() == ""
    for one in (listener, other):
        one.attach(second)
    second.say("whole")
    assert (listener.take(), other.take()) == ("", "whole")
    assert listener.cut_off is BROKEN


async def test_a_text_has_room_for_so_much() -> None:
    """What waits for a slow listener is bounded."""
    text = LiveText()
    text.say("x" * LIVE_CHARS_MAX)
    assert not text.has_room(1)


async def test_who_has_left_wants_nothing() -> None:
    """Nobody is asked to stream for a caller who has hung up before."""
    text, listener = LiveText(), Listener()
    listener.attach(text)
    listener.close()
    assert not text.is_wanted


async def test_the_next_leader_of_a_flight_begins_anew() -> None:
    """After a failure the one that is woken has a text of its own."""
    flights, key = Flights(), ("t", b"f")
    assert flights.board(key) is None
    first = flights.text(key)
    future = flights.board(key)
    assert future is not None
    assert flights.text(key) is first
    flights.land(key, None)
    assert await future is None
    assert flights.text(key) is not first


async def test_one_listens_to_a_batch_while_it_is_bought() -> None:
    """The first keeps its place until it is over."""
    listeners, batch_id, first = Listeners(), uuid4(), Listener()
    with listeners.hearing(batch_id, first), listeners.hearing(batch_id, Listener()):
        assert listeners.of(batch_id) is first
    assert listeners.of(batch_id) is None


def preview(index: int) -> Preview:
    return Preview(index, "image/png", bytes([index]))


async def test_of_a_picture_each_sees_the_last_preview_once() -> None:
    """Who is slow misses some; nobody sees more than it asked for, nor one twice."""
    text, many, one, none, deaf = LiveText(), Listener(3), Listener(1), Listener(), Listener(3)
    for who in (many, one, none):
        who.attach(text, sees=True)
    deaf.attach(text)
    assert text.previews_wanted == 3
    text.show(preview(0))
    assert [who.take_preview() for who in (many, one, none, deaf)] == [preview(0)] * 2 + [None] * 2
    assert many.take_preview() is None
    for index in (1, 2):
        text.show(preview(index))
    assert (many.take_preview(), one.take_preview()) == (preview(2), None)
    assert text.previews_wanted == 1
    assert not text.is_heard, "a preview promises nothing"
    many.close()
    assert text.previews_wanted == 0


async def test_previews_go_on_with_the_next_flight() -> None:
    """Who has seen some of one call sees those of the next, until it has seen enough."""
    first, second, listener = LiveText(), LiveText(), Listener(2)
    listener.attach(first, sees=True)
    first.show(preview(0))
    assert listener.take_preview() == preview(0)
    listener.attach(second, sees=True)
    assert (second.previews_wanted, first.previews_wanted) == (1, 0)
    second.show(preview(1))
    assert listener.take_preview() == preview(1)
