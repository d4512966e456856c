"""``doctor``: is everything that a run needs in order, and if not, what to do."""

from __future__ import annotations

import platform
import shutil
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line

if TYPE_CHECKING:
    from headrace.engine import Engine
    from headrace.store.schema import Connection

FREE_BYTES_WARN = 2 * 1024**3
CERTIFICATE_WARN = timedelta(days=30)
MARKS = {"ok": "✓", "warn": "!", "fail": "✗"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``ok``, ``warn`` or ``fail``, with the remedy."""

    what: str
    state: str
    seen: str
    remedy: str = ""


def doctor(*, common: Common | None = None) -> int:
    """Look at Python, database, disk, blob store, recipes and ledger; exit 1 on a failure."""

    async def work() -> int:
        from headrace.errors import HeadraceError

        findings = [Finding("Python", "ok", platform.python_version())]
        try:
            async with engine_of(common, work=False) as engine:
                findings += await _examine(engine)
        except HeadraceError as error:
            findings.append(Finding("engine", "fail", error.message, error.remedy))
        if common is not None and common.json:
            data([asdict(finding) for finding in findings])
        else:
            for finding in findings:
                line(f"{MARKS[finding.state]} {finding.what}: {finding.seen}")
                if finding.remedy:
                    line(f"    → {finding.remedy}")
        return 1 if any(finding.state == "fail" for finding in findings) else 0

    return int(on_loop(work()))


async def _examine(engine: Engine) -> list[Finding]:
    from headrace.recipe import recipe_names
    from headrace.store import statements
    from headrace.store.audit import verify

    async with engine.database.acquire("repeatable_read") as connection:
        version = await connection.fetchval("SHOW server_version")
        schema = await _schema(connection)
        gone = await connection.fetch(statements.load("workers/gone.sql"), 0)
        live = await connection.fetchval(statements.load("workers/live.sql"))
        findings = await verify(connection)
    server = engine.database.server
    kind = "embedded" if server is not None else "external"
    told = [Finding("database", "ok", f"PostgreSQL {version}, {kind}, safe settings")]
    told.append(schema)
    if server is not None and server.note:
        told.append(Finding("database folder", "ok", server.note))
    told.append(
        Finding("workers", "ok", f"{live} signed in")
        if not gone
        else Finding(
            "workers", "warn", f"{len(gone)} died", "headrace resume takes over their work"
        )
    )
    told += await _classes(engine)
    told.append(_disk(Path(engine.config.home)))
    told += await _blobs(engine)
    told += await _signing(engine)
    told += await _masters(engine)
    told += await _shared_cache(engine)
    told.append(Finding("recipes", "ok", ", ".join(recipe_names(engine.recipe_folders))))
    told.append(Finding("providers", "ok", ", ".join(engine.providers)))
    told.append(
        Finding("ledger", "ok", "audited, nothing found")
        if not findings
        else Finding("ledger", "fail", findings[0], "headrace ledger verify shows all")
    )
    return told


async def _schema(connection: Connection) -> Finding:
    from headrace.store import schema

    stands, own = await schema.standing(connection, waits=False), schema.own()
    assert stands is not None  # the engine has migrated it
    if stands.version <= own:
        return Finding("schema", "ok", stands.version)
    return Finding(
        "schema",
        "warn",
        f"{stands.version}, by headrace {stands.migrated_by}; this release knows {own}",
        f"Upgrade this one too; it may run while the database needs no more than {stands.oldest}.",
    )


async def _classes(engine: Engine) -> list[Finding]:
    from headrace.plan import CLASSES
    from headrace.store import workers

    now, heartbeat_s = engine.clock.now(), engine.config.worker.heartbeat_s
    async with engine.database.acquire() as connection:
        seen = await workers.seen(connection, now, heartbeat_s, now)
    taken = {name for one in seen for name in one.classes or CLASSES}
    left = [name for name in CLASSES if name not in taken]
    if not seen or not left:
        return []
    remedy = "Start a worker without --classes, or with these."
    return [Finding("classes", "warn", f"no worker takes {', '.join(left)}", remedy)]


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(home).free
    seen = f"{free / 1e9:.1f} GB free at {home}"
    if free < FREE_BYTES_WARN:
        return Finding("disk", "warn", seen, "Free some space, or set home to another disk.")
    return Finding("disk", "ok", seen)


async def _masters(engine: Engine) -> list[Finding]:
    """Return whether what is sealed can be opened here; nothing where nothing is sealed."""
    from headrace.errors import HeadraceError
    from headrace.master_key import ALL_THE_SAME
    from headrace.store import provider_keys

    async with engine.database.acquire() as connection:
        sealed = await provider_keys.sealed_under(connection)
    if not sealed:
        return []
    try:
        missing = sorted(sealed.keys() - set(engine.own_keys.masters.known()))
    except HeadraceError as error:
        return [Finding("master key", "fail", error.message, error.remedy)]
    if not missing:
        return [Finding("master key", "ok", f"opens all that is sealed: {', '.join(sealed)}")]
    keys = sum(sealed[one][0] for one in missing)
    hooks = sum(sealed[one][1] for one in missing)
    seen = f"{', '.join(missing)} not here: {keys} provider keys and {hooks} webhooks need it"
    return [Finding("master key", "fail", seen, ALL_THE_SAME)]


async def _signing(engine: Engine) -> list[Finding]:
    """Return whether files can be signed, and how long; nothing where none are."""
    from headrace.errors import HeadraceError

    try:
        until = await engine.signing.open()
    except HeadraceError as error:
        return [Finding("C2PA", "fail", error.message, error.remedy)]
    if until is None:
        return []
    seen = f"files are signed until {until:%Y-%m-%d}"
    if until - engine.clock.now() < CERTIFICATE_WARN:
        return [
            Finding(
                "C2PA",
                "warn",
                seen,
                "Get another in time: with none that is good nothing is signed.",
            )
        ]
    return [Finding("C2PA", "ok", seen)]


async def _shared_cache(engine: Engine) -> list[Finding]:
    front = engine.cache.front
    if front is None:
        return []
    if await front.is_there():
        return [Finding("shared cache", "ok", f"{front.place} answers")]
    remedy = "Work goes on without it; see that it runs and that HEADRACE_CACHE_URL is right."
    return [Finding("shared cache", "warn", f"{front.place} does not answer", remedy)]


async def _blobs(engine: Engine) -> list[Finding]:
    from headrace.errors import HeadraceError
    from headrace.store import spooled

    where = engine.config.blob_url or "blobs/ in home"
    try:
        await engine.blobs.probe()
        told = [Finding("blob store", "ok", f"{where}: written and read back")]
    except HeadraceError as error:
        place = f" [{error.place}]" if error.place else ""
        seen = f"{where}{place}: {error.message}"
        told = [Finding("blob store", "fail", seen, error.remedy)]
    if engine.blobs.outbox is None:
        return told
    async with engine.database.acquire() as connection:
        waiting = await spooled.waiting(connection)
    told += [
        Finding(
            "spool",
            "warn",
            f"{one.results} results ({one.size_bytes / 1e6:.1f} MB) wait at {one.place}"
            f" since {one.since:%Y-%m-%d %H:%M}",
            "They are sent once the store is well and a worker runs there.",
        )
        for one in waiting
    ]
    return told if waiting else [*told, Finding("spool", "ok", "nothing waits")]
