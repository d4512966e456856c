"""How fast rows are read: `python -m bench.source [rows]` prints rows and megabytes a second."""

from __future__ import annotations

import csv
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from headrace.source import Row
from headrace.sources import open_source

COLUMNS = ["sku", "name", "price", "colour", "text"]


def products(rows: int) -> Iterator[list[str]]:
    for n in range(rows):
        yield [f"SKU-{n:07}", f"Oak table {n}", f"{n % 900}.99", "sand", "solid wood, oiled"]


def write_csv(path: Path, rows: int) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(products(rows))


def write_plain(path: Path, rows: int) -> None:
    with path.open("w", newline="") as file:
        file.write(",".join(COLUMNS[:4]) + "\n")
        file.writelines(",".join(cells[:4]) + "\n" for cells in products(rows))


def write_jsonl(path: Path, rows: int) -> None:
    with path.open("w") as file:
        for cells in products(rows):
            file.write(json.dumps(dict(zip(COLUMNS, cells, strict=True))) + "\n")


KINDS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "csv, simple": ("plain.csv", write_plain),
    "csv, quoted": ("quoted.csv", write_csv),
    "jsonl": ("rows.jsonl", write_jsonl),
}


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"{'input':<14}{'rows':>10}{'rows/s':>12}{'MB/s':>8}{'peak MB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for title, (name, write) in KINDS.items():
            path = Path(folder) / name
            write(path, rows)
            started = time.perf_counter()
            with open_source(path) as source:
                good = sum(1 for row in source if isinstance(row, Row))
            taken = time.perf_counter() - started
            assert good == rows
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            speed, flow = rows / taken, path.stat().st_size / taken / 1e6
            print(f"{title:<14}{rows:>10,}{speed:>12,.0f}{flow:>8.0f}{peak:>10.0f}")


if __name__ == "__main__":
    main()
