"""The table ``[schedules]``: the folder that tenants' files lie in, databases to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import ConfigError, InputError
from headrace.nearest import did_you_mean
from headrace.plan import DEFAULT


class QueriedDatabase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A database that schedules of ``tenants`` may read rows from; ``url`` is never shown."""

    url: str
    tenants: list[str] = msgspec.field(default_factory=lambda: [DEFAULT])
    timeout_s: float = 60.0


class Schedules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``folder`` has a folder for each tenant, of the files that its schedules may name."""

    folder: str | None = None
    databases: dict[str, QueriedDatabase] = {}

    def database(self, name: str, tenant_id: str) -> QueriedDatabase:
        """Return a database that a tenant may ask; raises ``InputError``."""
        own = {one: at for one, at in self.databases.items() if tenant_id in at.tenants}
        if name not in own:
            raise InputError(
                f"there is no database {name[:80]!r} for the schedules of {tenant_id!r}",
                place="database",
                remedy=did_you_mean(name, own)
                if own
                else "Whoever runs headrace names it in [schedules.databases].",
            )
        return own[name]

    def folder_of(self, tenant_id: str) -> Path:
        """Return the folder of a tenant's files; raises ``InputError`` where there is none."""
        if self.folder is None or tenant_id in (".", "..") or "/" in tenant_id:
            raise InputError(
                "this installation takes no files from schedules made over HTTP",
                place="file",
                remedy="Whoever runs headrace sets schedules.folder, or adds the schedule.",
            )
        return Path(self.folder).absolute() / tenant_id


def read_schedules(table: Mapping[str, Any]) -> Schedules:
    """Return the table ``[schedules]``; raises ``ConfigError``, which shows no value of it."""
    try:
        found = msgspec.convert(dict(table), Schedules)
    except msgspec.ValidationError as error:
        raise ConfigError(
            str(error), place="[schedules]", remedy="See docs/schedules.md."
        ) from None
    for name, one in found.databases.items():
        if not one.url.startswith(("postgresql://", "postgres://")) or not 0 < one.timeout_s <= 600:
            raise ConfigError(
                "the url must begin with postgresql://, and timeout_s be within 600",
                place=f"[schedules.databases.{name}]",
            )
    return found
