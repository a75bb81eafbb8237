# SPDX-License-Identifier: Apache-2.0
"""Make an AI agent and its first API key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from accounts.commands import ActCommand
from accounts.services import create_agent, create_key
from audit.services import SYSTEM


class Command(ActCommand):
    help = "Make an AI agent and its API key, which is shown once, on the last line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--role", action="append", default=[], metavar="agent:…", help="may be given repeatedly")
        parser.add_argument("--model", default="", help="the AI model behind it, as its operator states it")
        parser.add_argument("--days", type=int, default=365, help="how long the key works (default: 365)")

    def act(self, *, name: str, role: list[str], model: str, days: int, **options: Any) -> str:
        with transaction.atomic():  # no agent without its key
            agent = create_agent(name=name, roles=role, model_name=model, actor=SYSTEM)
            lifetime = timedelta(days=min(days, 10**6))
            key, token = create_key(user_id=agent.pk, name="first key", expires_in=lifetime, actor=SYSTEM)
        roles = ", ".join(sorted(agent.roles)) or "no role yet"
        return (
            f"Made the agent {agent.username} ({roles}). This is its API key; it works until {key.expiry:%Y-%m-%d}\n"
            f"and is shown only now. Keep it where secrets are kept:\n{token}"
        )
