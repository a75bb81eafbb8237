# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.floor.prepare`: make the tables of Django and DRF in the floor's database; prints a token."""

from __future__ import annotations

import os

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.floor.settings"
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from rest_framework.authtoken.models import Token

    call_command("migrate", verbosity=0)
    print(Token.objects.create(user=User.objects.create(username="validator")).key)


if __name__ == "__main__":
    main()
