"""How lanes do of which refusals say next to nothing: ``python -m tests.unit.crossed_lanes``."""

from __future__ import annotations

import argparse
from itertools import pairwise
from statistics import median

from tests.unit.lanes_drawn import mixed

ITEMS = 500


def main() -> None:
    """Run each crossed lane of so many seeds, told and hidden, and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="from 0 on (2000)")
    options = parser.parse_args()
    late, gaps, refused = [], [], []
    for seed in range(options.seeds):
        for told in (False, True):
            lane = mixed(seed, ITEMS, told)
            if not lane.crossed:
                continue
            lane.model.until_s = 4 * lane.least_s + 600
            seen = lane.model.run()
            gaps.append(max(later - at for at, later in pairwise([0.0, *seen.accepts_s])))
            refused.append(seen.refused_share())
            if seen.done < ITEMS:
                late.append(f"{seed} {'told' if told else 'hidden'}: {seen.done}")
    print(f"{len(gaps)} lanes, {len(late)} late, with so many of {ITEMS} items in time:")
    print("\n".join(late))
    print(f"longest without an accepted call {max(gaps):.0f} s")
    print(f"refused {median(refused):.1%} in the middle, {max(refused):.1%} at most")


if __name__ == "__main__":
    main()
