"""The account of a machine in Google's cloud, told by its metadata server.

google-auth knows it, too, but only with a library beside it that nothing else here needs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

LOOK_S = 3.0
_PATH = "computeMetadata/v1"
_HEADERS = {"Metadata-Flavor": "Google"}


class Heard(Protocol):
    """A response, as google-auth reads it, too."""

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers."""
        ...

    @property
    def data(self) -> bytes:
        """Return the body."""
        ...


class Talk(Protocol):
    """Sends one request, blocking."""

    def __call__(self, url: str, *, headers: Mapping[str, str], timeout: float) -> Heard:
        """Return the response; raises google-auth's ``TransportError``."""
        ...


def metadata_host() -> str:
    """Return where the metadata server is, by the variable that Google's tools read, too."""
    return os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"


class MachineAccount:
    """What a machine is signed in with; made by ``found``. Shaped like google-auth's accounts.

    ``expiry`` is aware; ``now`` tells the time that it counts from.
    """

    quota_project_id = None

    def __init__(self, project_id: str | None, now: Callable[[], datetime]) -> None:
        self.project_id = project_id
        self.token: Any = None
        self.expiry: datetime | None = None
        self._now = now

    def refresh(self, talk: Talk) -> None:
        """Fetch a token; an odd answer raises what reading it raises (``ValueError`` and such)."""
        heard = _ask(talk, "instance/service-accounts/default/token")
        if heard.status != 200:
            raise ValueError(f"the metadata server answered {heard.status}")
        told = json.loads(heard.data)
        self.expiry = self._now() + timedelta(seconds=float(told["expires_in"]))
        self.token = told["access_token"]


def found(talk: Talk, now: Callable[[], datetime]) -> MachineAccount | None:
    """Return the account of this machine, ``None`` where it is none of Google's."""
    heard = _ask(talk, "project/project-id")
    # Any server may answer here, say a hotel's; Google's says who it is.
    flavor = {name.lower(): value for name, value in heard.headers.items()}.get("metadata-flavor")
    if flavor != "Google":
        return None
    project = heard.data[:100].decode("ascii", "replace").strip() if heard.status == 200 else ""
    return MachineAccount(project or None, now)


def _ask(talk: Talk, what: str) -> Heard:
    url = f"http://{metadata_host()}/{_PATH}/{what}"
    return talk(url, headers=_HEADERS, timeout=LOOK_S)
