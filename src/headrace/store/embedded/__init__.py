"""The PostgreSQL that headrace brings along: found, initialised, started, shared and stopped.

No other part of headrace knows that the server may be ours; the rest sees a URL.

One server serves all processes of one user that use the same home. The kernel's file locks
are the only bookkeeping, because a killed process cannot forget to return them:

* ``lock``    held while somebody starts or stops the server;
* ``owners``  shared by every process that uses the server: the last one stops it;
* ``alive``   inherited by the server and each of its processes: free means that none is left.
"""

from headrace.store.embedded.server import EmbeddedServer, open_embedded

__all__ = ["EmbeddedServer", "open_embedded"]
