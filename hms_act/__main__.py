# SPDX-License-Identifier: Apache-2.0
"""`python -m hms_act`: the command line."""

import sys

from hms_act.cli import main

sys.exit(main())
