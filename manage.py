#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Server commands: `manage.py migrate`, `worker`, `tick`, `demo`, `create_agent` …"""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    from config.starting import stopping_with_a_sentence

    with stopping_with_a_sentence():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
