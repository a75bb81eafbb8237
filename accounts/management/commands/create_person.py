# SPDX-License-Identifier: Apache-2.0
"""Make a person who logs in with a password."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.commands import ActCommand
from accounts.services import create_user
from audit.services import SYSTEM


class Command(ActCommand):
    help = "Make a person. Asks for the password, unless an environment variable holds it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--email", default="")
        parser.add_argument("--role", action="append", default=[], metavar="human:…", help="may be given repeatedly")
        parser.add_argument(
            "--group", action="append", default=[], help="staff, playbook author, administrator, auditor"
        )
        parser.add_argument("--password-from-env", metavar="VARIABLE", help="where the password is, instead of asking")

    def act(self, *, name: str, email: str, role: list[str], group: list[str], **options: Any) -> str:
        password = password_given(options["password_from_env"])
        person = create_user(username=name, email=email, roles=[*role, *group], password=password, actor=SYSTEM)
        groups = ", ".join(sorted(person.groups.values_list("name", flat=True)))
        return f"Made {person.username} ({groups or 'in no role: they cannot open the admin yet'})."


def password_given(variable: str | None) -> str:
    """From the environment, or asked for twice. Never from the command line, which others can read."""
    if variable:
        password = os.environ.get(variable, "")
        if not password:
            raise CommandError(f"The environment variable {variable} is not set, or empty.")
        return password
    if not sys.stdin.isatty():
        raise CommandError("Nobody is there to be asked for the password: give --password-from-env VARIABLE.")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Password, again: ") != password:
        raise CommandError("The two passwords are not the same.")
    return password
