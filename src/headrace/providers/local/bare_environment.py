"""The environment of worker processes: no keys, no network, this interpreter's modules."""

from __future__ import annotations

import os
import sys

_KEPT = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG", "LC_ALL", "HOME")
# A Typst package is fetched through these; the discard port answers "refused" at once.
_NO_NETWORK = {
    name: "http://127.0.0.1:9"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
}


def bare_environment() -> dict[str, str]:
    """Return the environment variables of a process that works on a stranger's files."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return (
        kept
        | _NO_NETWORK
        | {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONUTF8": "1",
            "RAYON_NUM_THREADS": "1",
        }
    )
