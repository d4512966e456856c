"""Asks an HTTP server at a fixed rate, whatever it answers, and notes how long each answer took.

A request's time counts from the moment it was due, not from when a connection was free: a server
that stumbles is charged for everybody who had to wait behind that.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CONNECTIONS = 64


@dataclass
class Paced:
    """What was seen: seconds from due to answered, and answers that were not as wanted."""

    took_s: list[float] = field(default_factory=list)
    bad: int = 0

    def quantile_ms(self, share: float) -> float:
        """Return the time that ``share`` of all answers stayed below."""
        ordered = sorted(self.took_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


class _Line:
    """One connection that is kept; one request at a time."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._at = (host, port)
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> int:
        """Return the status; the whole body is read."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._at, limit=1 << 20)
        reader, writer = self._streams
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {self._at[0]}\r\n"
            f"Authorization: Bearer {self._key}\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        return int(head[9:12])

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def paced(url: str, key: str, paths: list[str], rate_per_s: float, span_s: float) -> Paced:
    """Ask for ``paths`` in turn, ``rate_per_s`` a second for ``span_s`` seconds."""
    at = urlsplit(url)
    assert at.hostname is not None
    assert at.port is not None
    seen, due = Paced(), asyncio.Queue[tuple[float, str] | None]()

    async def ask() -> None:
        line = _Line(str(at.hostname), int(at.port or 80), key)
        while (told := await due.get()) is not None:
            due_s, path = told
            try:
                seen.bad += await line.get(path) != 200
            except (OSError, asyncio.IncompleteReadError, ValueError):
                seen.bad += 1
                line.close()
            seen.took_s.append(time.perf_counter() - due_s)
        line.close()

    asking = [asyncio.create_task(ask()) for _ in range(CONNECTIONS)]
    began_s = time.perf_counter()
    for number in range(int(rate_per_s * span_s)):
        due_s = began_s + number / rate_per_s
        if (wait_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        due.put_nowait((due_s, paths[number % len(paths)]))
    for _ in asking:
        due.put_nowait(None)
    await asyncio.gather(*asking)
    return seen
