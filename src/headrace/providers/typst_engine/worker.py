"""A render worker: reads orders from standard input, answers on standard output, obeys limits.

It ends by itself when its parent is gone or when it holds more memory than allowed, so a
killed engine leaves no orphan and a hungry template takes nobody with it.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import msgspec
import psutil

from headrace.errors import HeadraceError
from headrace.providers.typst_engine.message import (
    MEMORY_EXIT,
    ORPHAN_EXIT,
    Answer,
    Order,
    Setup,
    pack,
    read,
)
from headrace.providers.typst_engine.typesetter import Typesetter

_LOOK_EVERY_S = 0.05


def main() -> None:
    """Serve orders until standard input ends."""
    orders, answers = _take_streams()
    first = read(orders)
    if first is None:
        return
    setup = msgspec.msgpack.decode(first, type=Setup)
    _limit(setup)
    root = Path(setup.root)
    threading.Thread(target=_watch, args=(setup,), daemon=True).start()
    typesetter = Typesetter(root, setup.font_folders, root / setup.photo_folder)
    me = psutil.Process()
    _send(answers, Answer())
    decoder = msgspec.msgpack.Decoder(Order)
    while (body := read(orders)) is not None:
        answer = _answer(typesetter, decoder.decode(body))
        _send(answers, msgspec.structs.replace(answer, rss_bytes=me.memory_info().rss))


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep standard output for answers alone: whatever else prints goes to the log."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return sys.stdin.buffer, answers


def _send(stream: BinaryIO, answer: Answer) -> None:
    stream.write(pack(answer))
    stream.flush()


def _answer(typesetter: Typesetter, order: Order) -> Answer:
    try:
        return typesetter.set(order)
    except HeadraceError as error:
        return Answer(
            error=error.code, message=error.message, remedy=error.remedy, place=error.place
        )
    except MemoryError:
        os._exit(MEMORY_EXIT)


def _limit(setup: Setup) -> None:
    """Set the kernel's own limits where there are any; the watch below covers the rest."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The watch sees growth within 50 ms; this stops what grows faster than that.
    most = setup.memory_limit_bytes * 2
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _watch(setup: Setup) -> None:
    """End this worker when its parent has gone or its memory is over the limit."""
    me = psutil.Process()
    pause = threading.Event()
    while True:
        if os.getppid() != setup.parent_pid or not psutil.pid_exists(setup.parent_pid):
            shutil.rmtree(setup.root, ignore_errors=True)
            os._exit(ORPHAN_EXIT)
        if me.memory_info().rss > setup.memory_limit_bytes:
            os._exit(MEMORY_EXIT)
        pause.wait(_LOOK_EVERY_S)


if __name__ == "__main__":
    main()
