"""How far one database carries: measured on this machine, and modelled beyond it.

python -m bench.scale workers             items a second with 1, 2 and 4 workers, and why
python -m bench.scale lane                one lane shared by 8 workers
python -m bench.scale million             a million items beside an API that answers
python -m bench.scale model               1,000 workers and 100 million items a day, modelled
"""

from __future__ import annotations

import argparse
import sys

from bench.throughput import loop_run


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    workers = parts.add_parser("workers")
    workers.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    workers.add_argument("--items", type=int, default=20_000)
    workers.add_argument("--wide", type=int, default=512, help="calls at a time of a worker")
    workers.add_argument("--narrow", type=int, nargs="*", default=[1, 8], help="more widths, alone")
    workers.add_argument("--idle-s", type=float, default=10.0, help="seconds without work before")
    workers.add_argument("--keep", action="store_true", help="for the model: measured.json")
    lane = parts.add_parser("lane")
    lane.add_argument("--workers", type=int, default=8)
    lane.add_argument("--per-minute", type=float, default=1200.0)
    lane.add_argument("--seconds", type=float, default=75.0)
    million = parts.add_parser("million")
    million.add_argument("--items", type=int, default=1_000_000)
    million.add_argument("--workers", type=int, default=2)
    million.add_argument("--wide", type=int, default=512)
    model = parts.add_parser("model")
    model.add_argument("--seed", type=int, default=1)
    model.add_argument("--seconds", type=float, default=20.0, help="simulated, of each load")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the part that was asked for."""
    options = options_of(arguments)
    if options.part == "model":
        from bench.scale import report

        report.main(options)
        return 0
    if options.part == "workers":
        from bench.scale import workers

        loop_run(workers.main(options))
    elif options.part == "lane":
        from bench.scale import lane

        loop_run(lane.main(options))
    else:
        from bench.scale import million

        loop_run(million.main(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
