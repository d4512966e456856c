"""What the API says of webhooks and their messages, as structures."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.http.shapes import Time
from headrace.webhook import DeliveryState


class WebhookShape(msgspec.Struct, frozen=True):
    """An endpoint; ``reason`` says why it is disabled."""

    id: str
    url: str
    events: list[str]
    state: Literal["enabled", "disabled"]
    reason: str | None
    failing_since: Time | None
    old_secret_until: Time | None
    created_at: Time


class NewWebhook(WebhookShape, frozen=True, kw_only=True):
    """An endpoint with its secret, which is told this once."""

    secret: str


class WebhookList(msgspec.Struct, frozen=True):
    """A tenant's endpoints, the oldest first."""

    webhooks: list[WebhookShape]


class LatestTry(msgspec.Struct, frozen=True):
    """How the latest try went; ``status`` is ``null`` where no answer came."""

    status: int | None
    error: str | None
    duration_ms: int | None


class TryShape(msgspec.Struct, frozen=True):
    """How a try went; ``excerpt`` is the beginning of the answer."""

    number: int
    status: int | None
    error: str | None
    excerpt: str | None
    duration_ms: int
    at: Time


class MessageShape(msgspec.Struct, frozen=True):
    """A message: ``due_at`` is when it is tried next, ``path`` where it is told of."""

    id: str
    event: str
    batch_id: str | None
    state: DeliveryState
    tries: int
    due_at: Time | None
    created_at: Time
    ended_at: Time | None
    path: str


class DeliveryShape(MessageShape, frozen=True, kw_only=True):
    """A message in the log."""

    latest: LatestTry | None


class DeliveryDetail(MessageShape, frozen=True, kw_only=True):
    """A message with its body and all tries."""

    body: str
    tries_made: list[TryShape]


class DeliveryPage(msgspec.Struct, frozen=True):
    """Messages, the latest first; ``next`` is the ``before`` of the next page."""

    deliveries: list[DeliveryShape]
    next: str | None


SHAPES = (WebhookShape, NewWebhook, WebhookList, DeliveryPage, DeliveryDetail)
