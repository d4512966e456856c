"""Hosts as network namespaces: a hub with the services, others on two networks, and the cuts.

Packets of a cut vanish: nobody is told, no connection is refused. Addresses of the link are
fixed on both sides, so that not even its own name service tells a host that it is cut off.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

DATA_HUB, OUT_HUB = "10.77.0.1", "10.78.0.1"
"""Where the hub is: on the network of database and store, and on the one to the providers."""
_NETWORKS = {"data": "10.77.0", "out": "10.78.0"}
_MAC = {"data": "02:77:00:00:00", "out": "02:78:00:00:00"}
_NOBODY = "02:00:00:00:de:ad"
_NEEDED = ("ip", "unshare")


def hindrance() -> str | None:
    """Return why no namespaces can be made here; ``None`` where they can."""
    if sys.platform != "linux":
        return "network namespaces are a thing of Linux"
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        return f"these programs are missing (iproute2, util-linux): {', '.join(missing)}"
    if os.geteuid() != 0:
        return "only root may make network namespaces with a database server in them"
    tried = subprocess.run(
        [*apart(), "ip", "link", "add", "type", "veth"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if tried.returncode == 0 else f"the kernel refuses: {tried.stderr.strip()[:200]}"


def apart() -> list[str]:
    """Return the words before a command that is to be the hub.

    Its namespaces, and whatever runs in them, end with it, however it ends.
    """
    alone = ("--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc")
    return ["unshare", *alone]


def become_the_hub(words: list[str]) -> NoReturn:
    """Go on as ``python WORDS``, the hub."""
    command = [*apart(), sys.executable, *words]
    os.execvp(command[0], command)


class Network:
    """The hub's two bridges and the hosts at them; make it in a namespace that ends with us."""

    def __init__(self, names: list[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(names, start=2)}

    def make(self) -> None:
        """Make bridges, hosts and links."""
        names = Path("/run/netns")
        names.mkdir(exist_ok=True)
        # Names are files: these are seen by nobody else, and gone with the last process here.
        _run("mount", "-t", "tmpfs", "none", str(names))
        _run("ip", "link", "set", "lo", "up")
        for bridge, net in _NETWORKS.items():
            _run("ip", "link", "add", bridge, "address", f"{_MAC[bridge]}:01", "type", "bridge")
            _run("ip", "address", "add", f"{net}.1/24", "dev", bridge)
            _run("ip", "link", "set", bridge, "up")
        for name, number in self._numbers.items():
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
            for bridge in _NETWORKS:
                self._link(name, number, bridge)

    def _link(self, name: str, number: int, bridge: str) -> None:
        mac, end = f"{_MAC[bridge]}:{number:02x}", f"{bridge}-{name}"
        peer = ("peer", "name", bridge, "address", mac, "netns", name)
        _run("ip", "link", "add", end, "type", "veth", *peer)
        _run("ip", "link", "set", end, "master", bridge, "up")
        address = f"{_NETWORKS[bridge]}.{number}/24"
        _run("ip", "-n", name, "address", "add", address, "dev", bridge)
        _run("ip", "-n", name, "link", "set", bridge, "up")
        hub = (f"{_NETWORKS[bridge]}.1", "lladdr", f"{_MAC[bridge]}:01")
        _run("ip", "-n", name, "neigh", "replace", *hub, "dev", bridge, "nud", "permanent")
        self._answers(name, bridge, mac)

    def _answers(self, name: str, bridge: str, mac: str) -> None:
        there = (f"{_NETWORKS[bridge]}.{self._numbers[name]}", "lladdr", mac)
        _run("ip", "neigh", "replace", *there, "dev", bridge, "nud", "permanent")

    def inside(self, name: str) -> list[str]:
        """Return the words before a command that is to run on a host."""
        return ["ip", "netns", "exec", name]

    def cut(self, name: str) -> None:
        """Let all packets between a host and the database's network vanish."""
        _run("ip", "link", "set", f"data-{name}", "down")

    def silence(self, name: str) -> None:
        """Let what the database's network sends to a host vanish; what the host sends arrives."""
        self._answers(name, "data", _NOBODY)

    def join(self, name: str) -> None:
        """End whatever cut there is."""
        _run("ip", "link", "set", f"data-{name}", "up")
        self._answers(name, "data", f"{_MAC['data']}:{self._numbers[name]:02x}")


def _run(*words: str) -> None:
    """Run a command; raises ``RuntimeError`` with what it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
