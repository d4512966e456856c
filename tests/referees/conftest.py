"""The referees judge whole batches, too: they need the database of the integration tests."""

from tests.integration.conftest import database_url, scratch, server, template

__all__ = ["database_url", "scratch", "server", "template"]
