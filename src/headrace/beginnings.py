"""Tells a text while it grows: of it only beginnings that the policy's rules let pass.

The whole is judged as any artifact is when it is there; until then each beginning is judged as
if it were the whole before it is told. What hooks see, and the rules that people wrote, is
never told in parts: half of what they forbid may be as telling as all of it. Nor is a picture
shown before it is whole where hooks or such rules look at what is made, or a stage is to follow,
which may be the one that marks it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from headrace.held import HeldItem
from headrace.judging import subject_of
from headrace.live_text import LiveText
from headrace.order import Order
from headrace.policy import Policy, When
from headrace.preview import Preview, Previews
from headrace.provenance import Origin
from headrace.provider import CrashClass
from headrace.tracing import origin_of

STEP_CHARS = 32
SHARE = 8
"""A text is judged again when it has grown by an eighth: nine times its length in all."""


def may_be_told(policy: Policy) -> bool:
    """Tell whether parts of a text may be told before all of it is there to be judged."""
    rules = policy.rules_for(When.ARTIFACT)
    return not policy.hooks_for(When.ARTIFACT) and all(rule.by_parts for rule in rules)


def may_be_shown(item: HeldItem) -> bool:
    """Tell whether a picture that may be told in parts may be shown: no stage is to follow."""
    return item.stage == len(item.batch.stages) - 1


def previews_of(
    order: Order, now: datetime, imprint: Callable[[bytes, Origin], Awaitable[bytes]]
) -> Previews | None:
    """Return how many previews are wanted of an order, ``None`` where nobody waits for any.

    Nor are there any where a call may be sent again under its key: it has to be the same, whoever
    watches by then. They say where they come from, as the picture will: ``imprint`` puts it in
    once, however many watch.
    """
    text = order.text
    if text is None or not text.previews_wanted:
        return None
    if order.option.crash_class is CrashClass.KEYED:
        return None
    origin = origin_of(order, {}, now)

    async def show(preview: Preview) -> None:
        text.show(replace(preview, body=await imprint(preview.body, origin)))

    return Previews(text.previews_wanted, show)


class Beginnings:
    """What is said for an order, told to those who listen once it was judged."""

    def __init__(self, order: Order, text: LiveText) -> None:
        self._order = order
        self._text = text
        self._rules = order.item.batch.policy.rules_for(When.ARTIFACT)
        self._told = ""
        self._waiting = ""
        self._is_mute = False

    def say(self, piece: str) -> None:
        """Add a piece; it is told with those that wait when there are enough of them."""
        if self._is_mute or not piece:
            return
        self._waiting += piece
        step = max(STEP_CHARS, len(self._told) // SHARE) if self._told else 0
        if len(self._waiting) < step:
            return
        beginning = self._told + self._waiting
        if not self._text.has_room(len(self._waiting)) or not self._passes(beginning):
            # The end tells what it is: the rest, or that it is refused.
            self._is_mute = True
            return
        self._text.say(self._waiting)
        self._told, self._waiting = beginning, ""

    def _passes(self, text: str) -> bool:
        subject = subject_of(self._order, text)
        return all(rule.find(subject) is None for rule in self._rules)
