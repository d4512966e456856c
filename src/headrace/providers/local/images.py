"""The ``images`` provider: resizes, marks and checks artifacts on this machine, for free."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from headrace.artifact import INLINE_BYTES_MAX, Artifact
from headrace.errors import HeadraceError, NotFoundError
from headrace.limits import ONE_CALL, Load, Quota
from headrace.nearest import did_you_mean
from headrace.outcome import COMPLAINTS, CallFailed, Outcome, OutcomeKind, failed
from headrace.photo import PhotoDigests, find_photo, read_photo
from headrace.price import FREE, Price
from headrace.provider import Call, CrashClass, Reply
from headrace.providers.local.pixel_budget import PixelBudget
from headrace.request import Request

MODELS = ("resize", "watermark", "check")
SOURCE_BYTES_MAX = 64 * 1024 * 1024
PIXELS_MAX = 50_000_000
"""Decoded at once by all threads together."""
# Raise it when the same params and source give other bytes or another verdict.
_VERSION = 1


class ImagesProvider:
    """Pillow in a few threads; the source artifact is read by ``call.source``.

    Formats are limited to PNG, JPEG, WebP and GIF (its first frame), pictures to 50
    megapixels and 64 MiB. Marks come from the call's folders or from ``mark_folders``.
    """

    name = "images"
    crash_class = CrashClass.PURE

    def __init__(self, mark_folders: Sequence[Path] = (), *, threads: int | None = None) -> None:
        self._threads = threads or min(8, os.cpu_count() or 1)
        self.quota = Quota(self._threads, learns=False)
        self._mark_folders = tuple(mark_folders)
        self._digests = PhotoDigests()
        self._budget = PixelBudget(PIXELS_MAX)
        self._pool: ThreadPoolExecutor | None = None

    def load(self, request: Request) -> Load:
        """Return the load of a call: one, whatever it asks for."""
        return ONE_CALL

    def lane(self, request: Request) -> str:
        """Return the one lane of this machine's image work."""
        return "images"

    def version(self, model: str) -> str:
        """Return our own version and Pillow's: both shape the bytes."""
        from PIL import __version__ as pillow

        if model not in MODELS:
            raise NotFoundError(
                f"the images provider has no model {model!r}", remedy=did_you_mean(model, MODELS)
            )
        return f"{_VERSION}-pillow-{pillow}"

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Accept: the stages that use this provider check their own settings."""

    def price(self, request: Request) -> Price:
        """Return zero: it is this machine's work."""
        return FREE

    def photo_sha256(self, name: str, folders: Sequence[Path]) -> str:
        """Return the SHA-256 (hex) of a mark; raises ``PhotoError`` kinds."""
        return self._digests.sha256(name, (*folders, *self._mark_folders))

    async def open(self) -> None:
        """Start nothing: threads start with the first call."""

    async def close(self) -> None:
        """End the threads, after the work that they are in the middle of."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)

    async def call(self, call: Call) -> Reply:
        """Do the work; raises ``CallFailed`` (invalid) for a source that cannot be used."""
        if not call.request.sources:
            raise failed(OutcomeKind.INVALID, f"{call.request.model!r} needs a source artifact")
        body = await call.source(call.request.sources[0])
        if len(body) > SOURCE_BYTES_MAX:
            raise failed(
                OutcomeKind.INVALID,
                f"the source has {len(body):,} bytes; {SOURCE_BYTES_MAX:,} are allowed",
                remedy="Ask the stage before for a smaller one.",
            )
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="headrace-images")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._work, call, body)
        except HeadraceError as error:
            outcome = Outcome(
                OutcomeKind.INVALID, error.message, remedy=error.remedy, cost_microusd=0
            )
            raise CallFailed(outcome) from error

    def _work(self, call: Call, body: bytes) -> Reply:
        """Run in a thread: all that decodes or draws."""
        from headrace.providers.local import pixels

        request = call.request
        mark = self._mark(call) if request.model == "watermark" else None
        # What is enlarged weighs as much as what comes out.
        out = request.params.get("width", 0) * request.params.get("height", 0)
        weight = pixels.measured(body) + (pixels.measured(mark) if mark else 0) + out
        with self._budget.hold(weight):
            if request.model == "check":
                return _checked(request, body)
            image = pixels.open_picture(body)
            if request.model == "resize":
                image = pixels.resized(image, request.params)
            elif mark is not None or request.params.get("text"):
                image = pixels.marked(image, request.params, mark)
            encoded, media_type = pixels.encoded(image, request.params)
        facts = {"width": image.width, "height": image.height}
        return Reply(media_type, body=encoded, cost_microusd=0, facts=facts)

    def _mark(self, call: Call) -> bytes | None:
        name = call.request.params.get("image")
        if not name:
            return None
        folders = (*call.folders, *self._mark_folders)
        mark = read_photo(find_photo(name, folders), name)
        if self._digests.sha256(name, folders) != call.request.params["image_sha256"]:
            raise failed(OutcomeKind.TRANSIENT, f"the mark {name!r} changed while it was drawn")
        return mark

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Do the work again: a local computation is free to repeat."""
        return await self.call(call)

    async def find(self, call: Call) -> str | None:
        """Return ``None``: nothing is kept to be found."""
        return None

    async def cancel(self, provider_request_id: str, url: str | None) -> None:
        """Do nothing: the work is short."""


def _checked(request: Request, body: bytes) -> Reply:
    from headrace.providers.local.rules import broken_rules

    broken = broken_rules(body, request.params)
    if broken:
        # The same bytes break the same rule for ever: trying this stage again cannot help.
        raise failed(
            OutcomeKind.INVALID,
            f"the result was rejected: {'; '.join(broken)}",
            remedy="Change the recipe's check or what is asked of the stage before.",
            cost_microusd=0,
            facts={COMPLAINTS: broken},
        )
    media_type = request.params["media_type"]
    if len(body) <= INLINE_BYTES_MAX:
        return Reply(media_type, body=body, cost_microusd=0)
    same = Artifact(bytes.fromhex(request.sources[0]), media_type, len(body))
    return Reply(media_type, artifact=same, cost_microusd=0)
