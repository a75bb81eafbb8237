# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.inside PROGRAM`: a program of this folder, with Django set up on the database of DATABASE_URL."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    import_module(f"bench.{sys.argv[1]}").main()


def command(program: str) -> list[str]:
    return [sys.executable, "-m", "bench.inside", program]


if __name__ == "__main__":
    main()
