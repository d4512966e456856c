"""What a working process does beside the work: webhooks, data and credits whose time is over."""

from __future__ import annotations

from pathlib import Path

from headrace.blob import Blobs
from headrace.clock import Clock
from headrace.config import Config
from headrace.loops.deliverer import Deliverer
from headrace.loops.expirer import Expirer
from headrace.loops.loop import Loop
from headrace.loops.sweeper import Sweeper
from headrace.loops.uploader import Uploader
from headrace.master_key import MasterKeys
from headrace.store.database import Database
from headrace.webhook_post import WebhookPost


def upkeep_of(config: Config, database: Database, blobs: Blobs, clock: Clock) -> tuple[Loop, ...]:
    """Return the loops that need only settings, database, blobs and clock."""
    post = WebhookPost(clock, frozenset(config.webhooks.allowed_hosts or ()))
    return (
        Deliverer(database, clock, post, MasterKeys(Path(config.home))),
        Sweeper(database, blobs, clock, config.retention),
        Uploader(database, blobs, clock),
        Expirer(database, clock),
    )
