"""READ FIRST. The engine: its parts, how they are put together, started and stopped.

A batch of items is reserved against credits, cut into shards, handed by the queue to
workers, and each item walks its recipe's stages: cache, permit, attempt, artifact, settle.

    submit ── submission.py ── store/batches.py            one transaction, all or nothing
    sharder ─ loops/sharder.py ── store/shards.py          items into shards, in fair order
    queue ─── store/queue.py (PgQueuer) ── worker.py       a shard to a worker, under a fence
    walk ──── dispatcher.py ── executor.py ── purchase.py  an item through its stages
    write ─── writer.py ── store/starts.py, settles.py     group commit, write-ahead
    tell ──── watching.py                                  counts, events, results

This is the only module that names implementations.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from headrace.artifact import Artifact
from headrace.backoff import RetryPolicy
from headrace.batch_desk import BatchDesk
from headrace.blob import Blobs, blobs_of
from headrace.cache import CacheMode
from headrace.caches.tiered import TieredCache
from headrace.clock import Clock, SystemClock, sleep_unless_set
from headrace.config import Config
from headrace.dispatcher import Dispatcher
from headrace.executor import Executor
from headrace.file_batches import FileBatches, clerk_of
from headrace.files import Files
from headrace.gates.chosen import gate_of
from headrace.generation import Asked, Generated, Generator
from headrace.held import HeldBatch
from headrace.holding import HeldBatches
from headrace.identity import new_uuid, read_batch_id
from headrace.imprinting import with_origin
from headrace.judging import Judging
from headrace.lifecycle import BatchState
from headrace.loops.canceller import Canceller
from headrace.loops.consigner import Consigner
from headrace.loops.elsewhere import Elsewhere
from headrace.loops.guard import Guard
from headrace.loops.heart import Heart
from headrace.loops.keeper import Keeper
from headrace.loops.rescuer import Rescuer
from headrace.loops.sharder import Sharder
from headrace.manifests import manifests_of
from headrace.marking import Marks
from headrace.master_key import MasterKeys
from headrace.meter import Meter
from headrace.named_artifacts import own_only
from headrace.outbound import Outbound
from headrace.own_keys import OwnKeys
from headrace.policies import Policies
from headrace.pricing import KnownPrices, submit_priced
from headrace.provider import Provider
from headrace.providers.shelf import Shelf, shelf_of
from headrace.purchase import Purchaser
from headrace.reading import Reading
from headrace.recipe import Recipe, find_recipe
from headrace.recipe_changes import changes_for
from headrace.scheduling import ticker_of
from headrace.signing import Signing
from headrace.source import BadRow, Row
from headrace.sources import open_source
from headrace.stage import Stage, providers_of
from headrace.stages import build_stages, reads_texts
from headrace.store import batches, lanes, listing, shards, statements, workers
from headrace.store.database import Database, open_database
from headrace.store.ledger import Accounts
from headrace.submission import Terms, guarded, items_of, new_batch, requestable
from headrace.surroundings import Surroundings
from headrace.telemetry import crash_point
from headrace.upkeep import upkeep_of
from headrace.version import VERSION
from headrace.watching import Batch
from headrace.worker import Worker
from headrace.writer import Writer

__all__ = ["Engine", "Policies", "Shelf", "open_engine", "open_source", "shelf_of"]

Rows = Iterable[Row | BadRow | Mapping[str, Any]]
SWEEP_S = 6 * 3600.0


class Engine:
    """The parts of one process, put together; ``open_engine`` starts and stops them."""

    def __init__(
        self,
        config: Config,
        database: Database,
        blobs: Blobs,
        clock: Clock,
        providers: Mapping[str, Provider] | None = None,
    ) -> None:
        self.config = config
        self.database = database
        self.blobs = blobs
        self.clock = clock
        self.recipe_folders = (Path("recipes"), Path(config.home) / "recipes")
        self.providers = shelf_of(config, clock, providers)
        self.policies = Policies(config.policy, self.providers, clock)
        self.reading = Reading(database, blobs)
        self.judging = Judging(clock, self.reading.kept)
        self.files = Files(database, blobs, clock)
        self.cache = TieredCache(database, clock, config.cache_url)
        self.marks = Marks(database, clock)
        self.meter = Meter()
        self.writer = Writer(database, clock, self.meter)
        self.batch_desk = BatchDesk(database, clock)
        self.accounts = Accounts()
        self.signing = Signing(database, blobs, clock, manifests_of(config.provenance))
        self._stopping, self._moved = asyncio.Event(), asyncio.Event()
        masters = MasterKeys(Path(config.home))
        self.own_keys = OwnKeys(database, clock, masters, self.providers, self.providers)
        self._held = HeldBatches(
            database, self.stages_of, reads_texts, self.own_keys.versions, self.policies.of
        )
        self.gate = gate_of(config, database, clock)
        around = self._surroundings()
        self._listeners, self._canceller = around.listeners, Canceller(database, clock, around.jobs)
        self.worker = Worker(
            database, clock,
            Dispatcher(Executor(around, self._stopping), self.cache, self.writer, self._stopping),
            self._held.open, self._stopping,
            shards_held=config.worker.shards_held, heartbeat_s=config.worker.heartbeat_s,
            version=VERSION,
            shard_done=self._shard_done, classes=config.worker.taken,
        )  # fmt: skip
        self.sharder = Sharder(database, clock, config.worker.shard_items_max)
        self.elsewhere = Elsewhere(database, clock, self.sharder)
        self._guard = Guard(database, clock, self._batch_moved)
        self._keeper = Keeper(database, clock, self.gate.lanes)
        self._consigner = Consigner(
            database, clock, lambda: self.worker.id, self.providers.batch_api, self._batch_moved
        )
        self._clerk = clerk_of(
            database, blobs, clock, self.files, self.cache, config.run,
            self.stages_of, self.marks.on, self._held.open, self._batch_moved, self._stopping,
        )  # fmt: skip
        self.file_batches = FileBatches(database, clock, self.files, self._clerk.wake)
        self.generator = Generator(
            self.cache, self.stages_of, self.marks.on, self._buy, self.reading.body, blobs.read,
            KnownPrices(database, clock).hits_are_free, self.judging, self.policies.of,
        )  # fmt: skip
        self._heart = Heart(database, clock, self.worker, self._stopping, config.worker.heartbeat_s)
        self._upkeep = (*upkeep_of(config, database, blobs, clock), ticker_of(self, open_source))

    def _surroundings(self) -> Surroundings:
        retry = self.config.retry
        return Surroundings(
            writer=self.writer,
            cache=self.cache,
            gate=self.gate,
            purchaser=Purchaser(
                self.blobs, self.clock, self.reading.source, self.config.worker.call_timeout_s
            ),
            outbound=Outbound(self.database, self.writer, self.blobs, self.clock, self._stopping),
            batch_desk=self.batch_desk,
            clock=self.clock,
            retry=RetryPolicy(retry.attempts, retry.base_s, retry.cap_s),
            cache_ttl_s=self.config.cache.ttl_s,
            batch_state=self._batch_state,
            read_text=self.reading.text,
            foreign=self.reading.foreign,
            judging=self.judging,
            signing=self.signing,
            imprint=with_origin,
            meter=self.meter,
        )

    # -- start and stop ------------------------------------------------------------------

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Take part in the work while the block runs: worker, sharder, rescuer, watchdog."""
        await self.signing.open()
        # What an earlier crash left half written; younger files may belong to a neighbour.
        await asyncio.to_thread(self.blobs.sweep, SWEEP_S, self.clock.now().timestamp())
        if self.blobs.outbox is not None:
            await self.blobs.outbox.strays()  # they take room before the first call does
        await self.worker.join()
        async with self.database.acquire() as connection:
            self.gate.remember(await lanes.remembered(connection, self.clock.now()))
        await self.gate.start()
        self.writer.start()
        self.batch_desk.start()
        rescuer = Rescuer(self.database, self.clock, self.worker.id)
        loops = (
            self._heart, self.sharder, rescuer, self._guard, self._keeper, self._clerk,
            self._consigner, *self._upkeep, self._canceller,
        )  # fmt: skip
        server, watch = self.database.server, None
        if server is not None:
            watch = asyncio.create_task(server.watch(), name="watchdog")
        try:
            await rescuer.tick()
            self.worker.start()
            for loop in loops:
                loop.start()
            yield
        finally:
            # Who stands in line at a slow or shut lane must not hold up the end.
            self._stopping.set()
            self.gate.dismiss()
            self._heart.wake()
            await self.worker.stop()
            for loop in loops:
                await loop.stop()
            await self.batch_desk.stop()
            await self.writer.stop()
            await self.gate.close()
            if watch is not None:
                watch.cancel()

    def _shard_done(self) -> None:
        self._guard.wake()
        self._batch_moved()

    def _batch_moved(self) -> None:
        self.sharder.wake()
        self._clerk.wake()
        self._moved.set()

    async def _changed(self, wait_s: float) -> None:
        """Return when this process has ended a shard, or after ``wait_s`` at the latest."""
        self._moved.clear()
        await sleep_unless_set(self.clock, wait_s, self._moved)

    def _nudge(self) -> None:
        """A person has moved a batch: look at once, also at lanes that are shut."""
        self.gate.reopen()
        self.sharder.wake()

    # -- batches -------------------------------------------------------------------------

    def recipe(self, name: str | Recipe, changes: Mapping[str, Any] | None = None) -> Recipe:
        """Return the recipe called ``name``; raises ``RecipeError`` with the known names.

        Over what its file says go the settings ``[recipes.NAME]``, then ``changes``.
        """
        if isinstance(name, Recipe):
            return name
        return find_recipe(
            name, self.recipe_folders, changes_for(self.config.recipes, name, changes)
        )

    async def submit(
        self,
        rows: Rows,
        recipe: str | Recipe,
        *,
        columns: list[str] | None = None,
        terms: Terms | None = None,
        digest: bytes | None = None,
    ) -> Batch:
        """Submit rows under a recipe: all or nothing, durable when this returns.

        ``rows`` are mappings, or what a ``Source`` yields. Raises ``RecipeError``,
        ``InputError``, ``UsageError``, ``ConflictError``, ``InsufficientCreditsError``,
        ``SuspendedError``, ``AllowanceError``.
        """
        terms = terms or Terms()
        found = await self.marks.on(self.recipe(recipe), terms.tenant_id)
        stages = await self.stages_of(found, terms.tenant_id)
        now = self.clock.now()
        terms, rows_min = guarded(terms, stages, self.config.run)
        new = new_batch(new_uuid(now), found, stages, columns, terms, digest, rows_min)
        rows = await own_only(rows, found, terms.tenant_id, self.reading.foreign)
        if terms.strict:
            rows = requestable(rows, stages[0], terms)
        items = items_of(rows, found.required, terms.strict)
        async with self.database.transaction() as connection:
            batch_id, is_new = await submit_priced(
                connection, self.accounts, new, stages, items, now
            )
        crash_point("submit-after-commit")
        self.sharder.wake()
        return self.batch(batch_id, is_new)

    def batch(self, batch_id: UUID | str, is_new: bool = False) -> Batch:
        """Return a handle on a batch by its id; raises ``NotFoundError`` for no id at all."""
        known = read_batch_id(batch_id) if isinstance(batch_id, str) else batch_id
        return Batch(known, self.database, self.clock, self._nudge, self._changed, is_new)

    async def recent(self, limit: int = 20, tenant_id: str = "default") -> list[batches.Summary]:
        """Return a tenant's batches, the latest first."""
        async with self.database.acquire() as connection:
            return await listing.batches(connection, listing.Wanted(tenant_id), limit)

    async def generate(
        self,
        model: str,
        prompt: str,
        *,
        cache: str = "reuse",
        tenant_id: str = "default",
        **params: Any,
    ) -> Generated:
        """Return one result now: from the cache, or bought once however many ask for it.

        ``model`` is ``provider:model``. Raises ``GenerationError`` when it ends without
        a result, ``RecipeError`` for an unknown provider or parameter.
        """
        return await self.generator.generate(model, prompt, params, CacheMode(cache), tenant_id)

    # -- what the parts ask of each other --------------------------------------------------

    async def stages_of(self, recipe: Recipe, tenant_id: str = "default") -> list[Stage]:
        """Return a recipe's stages, bound to opened providers; raises ``RecipeError``.

        A tenant's own keys are those that its stages buy with.
        """
        stages = build_stages(recipe, await self.own_keys.of(tenant_id))
        for stage in stages:
            for provider in providers_of(stage):
                await self.own_keys.open(provider)
        await self.policies.prepare(recipe.policy, self.providers.open)
        return stages

    async def open_batch(self, batch_id: UUID) -> HeldBatch:
        """Return a batch with its stages built; raises ``RecipeError`` if it cannot."""
        return await self._held.open(batch_id)

    async def _batch_state(self, batch_id: UUID) -> BatchState:
        async with self.database.acquire() as connection:
            state = await connection.fetchval(statements.load("batches/state.sql"), batch_id)
        return BatchState(state)

    async def _buy(self, asked: Asked) -> tuple[Artifact | None, dict[str, Any]]:
        """Buy one result as a batch of one item, walked here without a detour by the queue.

        An engine that only looks on leaves it to a worker; raises ``NoWorkerError``.
        """
        now, claim = self.clock.now(), None
        terms = Terms(
            class_name="interactive", cache=asked.mode.value, tenant_id=asked.tenant_id,
            canary=0, idempotency_key=asked.key, on_demand=True,
        )  # fmt: skip
        recipe, stages = asked.recipe, await self.stages_of(asked.recipe, asked.tenant_id)
        new = new_batch(new_uuid(now), recipe, stages, list(asked.row), terms, asked.digest)
        async with self.database.transaction() as connection:
            if not self.worker.id:
                await workers.need_one(connection)
            items = items_of([asked.row], recipe.required, True)
            batch_id, is_new = await submit_priced(
                connection, self.accounts, new, stages, items, now
            )
            if is_new and self.worker.id:
                shard_id = await shards.cut_for_now(connection, new.id, now)
                claim = await shards.claim(connection, shard_id, self.worker.id)
        batch = self.batch(batch_id)
        with self._listeners.hearing(batch_id, asked.listener):
            if claim is not None:
                await self.worker.take(claim)
            await (batch.done() if self.worker.id else self.elsewhere.made(batch_id))
        async for item in batch.items():
            return item.artifact, item.error or {}
        raise AssertionError("a batch of one item has one item")


@asynccontextmanager
async def open_engine(
    config: Config,
    *,
    providers: Mapping[str, Provider] | None = None,
    clock: Clock | None = None,
    work: bool = True,
) -> AsyncIterator[Engine]:
    """Open an engine on the configured database and blob store; ``work=False`` only looks.

    Raises ``DatabaseError``, ``ConfigError``, ``StorageError``.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        home, direct_url = Path(config.home), config.database_direct_url
        database = await stack.enter_async_context(
            open_database(config.database_url, home, clock=clock, direct_url=direct_url)
        )
        blobs = await blobs_of(config)
        stack.push_async_callback(blobs.close)
        engine = Engine(config, database, blobs, clock, providers)
        for part in (engine.cache, engine.providers, engine.own_keys, engine.policies):
            stack.push_async_callback(part.close)
        stack.push_async_callback(engine.elsewhere.stop)
        if work:
            await stack.enter_async_context(engine.working())
        yield engine
