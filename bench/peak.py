"""How much memory a process has held; little is imported, for that is measured, too."""

from __future__ import annotations

import sys
from pathlib import Path

MIB = 1024 * 1024


def peak_mib(pid: int | None = None) -> float:
    """Return the most memory that this process, or another (on Linux), has held, in MiB.

    What ``getrusage`` tells starts at the size of the process that it was forked from.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    if pid is not None or status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024
