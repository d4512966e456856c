"""The public test kit: a clock moved by hand, a simulated provider, calls to try adapters with."""

from headrace.providers.simulated.adapter import SimulatedProvider
from headrace.providers.simulated.call_log import read_call_log
from headrace.providers.simulated.settings import LogNormal, SimulatedSettings
from headrace.testing.call_desk import CallDesk, MemorySpool
from headrace.testing.manual_clock import ManualClock

__all__ = [
    "CallDesk",
    "LogNormal",
    "ManualClock",
    "MemorySpool",
    "SimulatedProvider",
    "SimulatedSettings",
    "read_call_log",
]
