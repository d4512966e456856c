"""Suites that every adapter must pass: subclass one in a test module, say how to make yours.

The classes are plain pytest classes with ``async`` tests (``asyncio_mode = "auto"`` of
pytest-asyncio, or anything that runs them). Call
``pytest.register_assert_rewrite("headrace.testing.conformance")`` in your ``conftest.py``
for pytest's detailed messages.
"""

from headrace.testing.conformance.cache_suite import CacheConformance
from headrace.testing.conformance.gate_suite import GateConformance
from headrace.testing.conformance.provider_suite import ProviderConformance
from headrace.testing.conformance.stage_suite import StageConformance
from headrace.testing.conformance.store_suite import StoreConformance

__all__ = [
    "CacheConformance",
    "GateConformance",
    "ProviderConformance",
    "StageConformance",
    "StoreConformance",
]
