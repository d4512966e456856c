"""The embedded PostgreSQL keeps what every store promises."""

from __future__ import annotations

import pytest

from headrace.store.database import Database
from headrace.testing.conformance import StoreConformance


class TestEmbedded(StoreConformance):
    """The suite on the embedded server; another one is a URL away."""

    @pytest.fixture(autouse=True)
    def _on(self, database: Database) -> None:
        self.database = database

    async def make_database(self) -> Database:
        """Return the test's fresh database."""
        return self.database
