"""The ``films`` provider: takes a poster frame out of a film, on this machine, for free."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import IO, Any

import msgspec

from headrace.errors import ConfigError, NotFoundError
from headrace.limits import ONE_CALL, Load, Quota
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.price import FREE, Price
from headrace.provider import Call, CrashClass, Reply
from headrace.providers.local.bare_environment import bare_environment
from headrace.providers.local.film_worker import MEMORY_EXIT, Answer, Order
from headrace.providers.remote.media import FILMS, HEAD_BYTES, media_type_of
from headrace.request import Request

MODEL = "poster"
TIMEOUT_S = 60.0
MEMORY_BYTES = 1024 * 1024 * 1024
COPIED_BYTES_MAX = 512 * 1024 * 1024
ANSWER_BYTES_MAX = 128 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
# Raise it when the same params and film give another picture.
_VERSION = 1


class FilmsProvider:
    """PyAV in a process for each film, with limits of time and memory: films are hostile input.

    The process gets the film as an open file, an environment without keys, and no files
    to write. Frames have at most 50 megapixels.
    """

    name = "films"
    crash_class = CrashClass.PURE

    def __init__(
        self, *, timeout_s: float = TIMEOUT_S, memory_bytes: int = MEMORY_BYTES, workers: int = 0
    ) -> None:
        self._workers = workers or max(1, (os.cpu_count() or 1) // 2)
        self.quota = Quota(self._workers, learns=False)
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._permits = asyncio.Semaphore(self._workers)

    def load(self, request: Request) -> Load:
        """Return the load of a call: one, whatever it asks for."""
        return ONE_CALL

    def lane(self, request: Request) -> str:
        """Return the one lane of this machine's work on films."""
        return "films"

    def version(self, model: str) -> str:
        """Return our own version and PyAV's; raises ``ConfigError`` where it is missing."""
        if model != MODEL:
            raise NotFoundError(
                f"the films provider has no model {model!r}", remedy=f"It has {MODEL!r}."
            )
        try:
            return f"{_VERSION}-av-{installed('av')}-pillow-{installed('pillow')}"
        except PackageNotFoundError:
            raise ConfigError(
                "a poster needs PyAV, which is not installed",
                place="[providers.films]",
                remedy="Install it with: pip install 'headrace[video]'",
            ) from None

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Accept: the stage checks its own settings."""

    def price(self, request: Request) -> Price:
        """Return zero: it is this machine's work."""
        return FREE

    async def open(self) -> None:
        """Start nothing: each film has a process of its own."""

    async def close(self) -> None:
        """Do nothing: a process ends with its call."""

    async def call(self, call: Call) -> Reply:
        """Take the frame; raises ``CallFailed`` (invalid) for what is no usable film."""
        if not call.request.sources:
            raise failed(OutcomeKind.INVALID, "a poster needs a film: put it after one")
        params = call.request.params
        async with self._permits:
            with await _opened(call) as film:
                head = await asyncio.to_thread(film.read, HEAD_BYTES)
                media_type = media_type_of(head)
                if media_type not in FILMS:
                    raise _unusable(f"what came before is {media_type or 'no known file'}")
                await asyncio.to_thread(film.seek, 0)
                order = Order(
                    media_type=media_type,
                    at_s=float(params.get("at_s", 0.0)),
                    width=int(params.get("width", 0)),
                    format=str(params.get("format", "jpeg")),
                    quality=int(params.get("quality", 90)),
                    memory_bytes=self._memory_bytes,
                    cpu_s=int(self._timeout_s) + 1,
                )
                answer, body = await self._worked(order, film)
        facts: dict[str, Any] = {"width": answer.width, "height": answer.height}
        if answer.duration_s is not None:
            facts["duration_s"] = answer.duration_s
        return Reply(f"image/{order.format}", body=body, cost_microusd=0, facts=facts)

    async def _worked(self, order: Order, film: IO[bytes]) -> tuple[Answer, bytes]:
        """Let a process take the frame, and end it whatever happens."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "headrace.providers.local.film_worker",
            msgspec.json.encode(order).decode(),
            stdin=film,
            stdout=PIPE,
            stderr=DEVNULL,
            env=bare_environment(),
            cwd="/" if sys.platform != "win32" else None,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                assert process.stdout is not None
                said = await _read(process.stdout)
                code = await process.wait()
        except TimeoutError:
            raise _unusable(f"it took longer than {self._timeout_s:g} s") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):  # it may have ended by itself
                    process.kill()
                await asyncio.shield(process.wait())
        return self._read_answer(code, said)

    def _read_answer(self, code: int, said: bytes) -> tuple[Answer, bytes]:
        if code == MEMORY_EXIT:
            raise _unusable(f"it needed more than {self._memory_bytes >> 20} MiB of memory")
        if code != 0:
            raise _unusable(f"the decoder broke down (exit code {code})")
        line, _, body = said.partition(b"\n")
        try:
            answer = msgspec.json.decode(line, type=Answer)
        except msgspec.DecodeError:
            raise _unusable("the decoder gave no picture") from None
        if answer.error or not body:
            raise _unusable(answer.error or "the decoder gave no picture")
        return answer, body

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Do the work again: a local computation is free to repeat."""
        return await self.call(call)

    async def find(self, call: Call) -> str | None:
        """Return ``None``: nothing is kept to be found."""
        return None

    async def cancel(self, provider_request_id: str, url: str | None) -> None:
        """Do nothing: the work is short."""


async def _opened(call: Call) -> IO[bytes]:
    """Return the film as an open file: its own where it lies on this machine, else a copy."""
    digest = call.request.sources[0]
    path = call.file(digest)
    try:
        if path is not None:
            return await asyncio.to_thread(_open_unbuffered, path)
        body = await call.source(digest)
        if len(body) > COPIED_BYTES_MAX:
            raise _unusable(f"it has {len(body):,} bytes; {COPIED_BYTES_MAX:,} are allowed")
        return await asyncio.to_thread(_copied, body)
    except OSError as error:
        reason = f"the film cannot be opened: {error.strerror or error}"
        raise failed(OutcomeKind.TRANSIENT, reason, cost_microusd=0) from error


def _open_unbuffered(path: Path) -> IO[bytes]:
    # A process that inherits the file reads from where the kernel says that it stands.
    return path.open("rb", buffering=0)


def _copied(body: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
    try:
        file.write(body)
        file.seek(0)
    except OSError:
        file.close()
        raise
    return file


async def _read(stream: asyncio.StreamReader) -> bytes:
    pieces, size = [], 0
    while piece := await stream.read(_PIECE_BYTES):
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise _unusable(f"its frame has more than {ANSWER_BYTES_MAX >> 20} MiB")
        pieces.append(piece)
    return b"".join(pieces)


def _unusable(why: str) -> CallFailed:
    return failed(
        OutcomeKind.INVALID,
        f"no poster can be taken from the film: {why}",
        remedy="Look at the film of the stage before. MP4, QuickTime and WebM are read.",
        cost_microusd=0,
    )
