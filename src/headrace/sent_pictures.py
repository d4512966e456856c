"""Pictures that callers send along: kept as files for a while, looked at, and named by hash."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from headrace.artifact import Artifact
from headrace.errors import HeadraceError, InputError, NotFoundError
from headrace.files import Files, read_file_id
from headrace.openai_body import with_sources
from headrace.photo import PHOTO_BYTES_MAX, PhotoRefusedError, check_photo
from headrace.store.files import File

PURPOSE = "vision"
KEPT_S = 7 * 86_400
"""So long a picture that came with a call is kept: the call may wait for a quota of days."""

_HASH = "sha256:"


class Sources:
    """The pictures that a tenant's requests may name, each looked up once; ``known`` by hash."""

    def __init__(self, files: Files, tenant_id: str) -> None:
        self.known: dict[str, str] = {}
        self._files = files
        self._tenant_id = tenant_id

    async def look_up(self, names: Iterable[str]) -> None:
        """Find the files called ``file-…`` or ``sha256:…``; others' are not there."""
        ids: dict[UUID, list[str]] = {}
        digests: dict[bytes, list[str]] = {}
        for name in set(names) - self.known.keys():
            try:
                if name.startswith(_HASH):
                    digests.setdefault(bytes.fromhex(name.removeprefix(_HASH)), []).append(name)
                else:
                    ids.setdefault(read_file_id(name), []).append(name)
            except (ValueError, NotFoundError):
                continue  # told where it is asked for
        if not ids and not digests:
            return
        for file in await self._files.named(self._tenant_id, [*ids], [*digests]):
            if file.purpose == PURPOSE:  # no other was looked at
                for name in ids.get(file.id, []) + digests.get(file.sha256, []):
                    self.known[name] = _HASH + file.sha256.hex()

    def placed(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of an edit with its pictures by hash; raises ``InputError``."""
        try:
            return with_sources(body, self.known)
        except KeyError as error:
            raise InputError(
                f"there is no picture {error.args[0][:80]!r}",
                remedy='Upload it with the purpose "vision"; it may have expired.',
            ) from None


async def keep_picture(files: Files, tenant_id: str, name: str, artifact: Artifact) -> str:
    """Keep a picture that came with a call, and return its name by hash.

    Raises ``PhotoRefusedError`` where it is none that can be sent; then it is not kept.
    """
    digest = artifact.sha256
    known = await files.named(tenant_id, [], [digest], KEPT_S / 2)
    if any(one.purpose == PURPOSE for one in known):
        return _HASH + digest.hex()
    await add_picture(files, files.new(tenant_id, name, PURPOSE, artifact, KEPT_S))
    return _HASH + digest.hex()


async def add_picture(files: Files, file: File) -> None:
    """Keep a file if it is a picture; raises ``PhotoRefusedError`` where it is none."""
    if file.size_bytes > PHOTO_BYTES_MAX:
        raise PhotoRefusedError(f"a picture has {PHOTO_BYTES_MAX:,} bytes at most")
    await files.add(file)
    try:
        async with files.on_disk(file) as path:
            await asyncio.to_thread(check_photo, path, file.name)
    except HeadraceError:
        await files.remove(file.tenant_id, file.id)
        raise
