# SPDX-License-Identifier: Apache-2.0
"""Make a migrated database, other than the one of the tests, ready for runs: `python -m tests.crash.prepare`.

Prints the key of somebody who may start them.
"""

from __future__ import annotations

import django

LEASE_SECONDS = 4  # what the server's death cost a process is taken up by another so soon


def main() -> None:
    django.setup()
    from tests.crash.house import charging
    from tests.factories import founder, published
    from tests.people import key_of

    published(charging("reserve", "charge", token_ttl=LEASE_SECONDS))
    _, token = key_of(founder())
    print(token)


if __name__ == "__main__":
    main()
