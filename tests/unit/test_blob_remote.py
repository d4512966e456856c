"""Blobs in an object store, rehearsed against a small S3 on localhost that can be made to fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headrace.blob import blob_key, open_blobs
from headrace.errors import StorageError


class SmallS3(ThreadingHTTPServer):
    """Keeps objects by path; ``failures`` are the status codes of the next answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.headers_seen: list[dict[str, str]] = []
        self.failures: list[int] = []


class Handler(BaseHTTPRequestHandler):
    """PUT with If-None-Match, GET and HEAD of one object."""

    server: SmallS3
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay silent."""

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"tag"')
        self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.headers_seen.append({k.lower(): v for k, v in self.headers.items()})
        if self.server.failures:
            return self._answer(self.server.failures.pop(0))
        if "If-None-Match" in self.headers and self.path in self.server.objects:
            return self._answer(412)
        self.server.objects[self.path] = body
        return self._answer(200)

    def do_GET(self) -> None:
        body = self.server.objects.get(self.path)
        self._answer(404 if body is None else 200, body or b"")

    do_HEAD = do_GET  # noqa: N815 - the base's name


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    server = SmallS3()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    for name, value in {
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def test_objects_are_immutable_and_say_what_they_are(s3: SmallS3, tmp_path: Path) -> None:
    """A blob is put once, on condition that it is new, with its type and an endless cache life."""
    blobs = await open_blobs("s3://bucket/prefix", tmp_path / "spool")
    artifact = await blobs.put(b"picture", "image/png")
    assert list(s3.objects) == [f"/bucket/prefix/{blob_key(artifact.sha256)}"]
    first = s3.headers_seen[0]
    assert first["content-type"] == "image/png"
    assert first["cache-control"] == "public, max-age=31536000, immutable"
    assert first["if-none-match"] == "*"
    assert await blobs.put(b"picture", "image/png") == artifact, "the second put finds it there"
    assert await blobs.read(artifact.sha256) == b"picture"
    assert await blobs.verify(artifact.sha256) == "sound"
    async with blobs.spool("image/png") as spool:
        await spool.write(b"spooled")
        spooled = await spool.commit()
    assert await blobs.read(spooled.sha256) == b"spooled"
    assert not any((tmp_path / "spool").iterdir())
    await blobs.close()


async def test_a_store_that_stumbles_is_asked_again(s3: SmallS3, tmp_path: Path) -> None:
    """Short failures of the store are waited out; the blob is there when put returns."""
    blobs = await open_blobs("s3://bucket", tmp_path / "spool")
    s3.failures += [503, 500]
    artifact = await blobs.put(b"picture", "image/png")
    assert await blobs.read(artifact.sha256) == b"picture"
    await blobs.close()


async def test_forbidden_is_no_reason_to_wait(s3: SmallS3, tmp_path: Path) -> None:
    """Wrong keys are an error that waiting does not mend, and nothing is stored."""
    blobs = await open_blobs("s3://bucket", tmp_path / "spool")
    s3.failures += [403]
    with pytest.raises(StorageError) as caught:
        await blobs.put(b"picture", "image/png")
    assert not caught.value.retryable
    assert "keys" in caught.value.remedy
    assert not s3.objects
    await blobs.close()
