# SPDX-License-Identifier: Apache-2.0
"""`python -m bench [NAME …]`: measure these cases, or all. One JSON line each; ends with 1 if a bar is missed."""

from __future__ import annotations

import argparse
import sys

from bench import inside, places  # puts scripts/ on the path

import machine  # isort: skip
import processes  # isort: skip

CASES = (
    "transition",
    "claim",
    "permit3",
    "http",
    "latency",
    "idle",
    "setup",
    "composite",
    "timers",
    "decide",
    "statistics",
)


def main() -> int:
    names = _names()
    try:
        codes = [_measure(name) for name in names]
    except machine.Missing as reason:
        print(f"bench: {reason}", file=sys.stderr)
        return 3
    return max(codes)


def _names() -> list[str]:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    names: list[str] = parser.parse_args().names
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"there is no case {', '.join(unknown)}: give {', '.join(CASES)}")
    return names or list(CASES)


def _measure(name: str) -> int:
    """A server of its own for each case, so that none finds the tables or the dirty pages of another."""
    print(f"bench: {name} …", file=sys.stderr, flush=True)
    with places.durable_server() as url:
        return processes.run(inside.command(name), places.environment(url))


if __name__ == "__main__":
    processes.end_on_signals()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
