# SPDX-License-Identifier: Apache-2.0
"""Start-up checks of the whole installation."""

from importlib import metadata
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        register(only_fsm_2_provides_django_fsm)


def only_fsm_2_provides_django_fsm(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """`django-fsm` and `django-fsm-2` own the same directory, and pip does not notice.

    `django-fsm` 3.x is unmaintained and 5.x is AGPL; uninstalling it deletes the other's files.
    """
    owners = metadata.packages_distributions().get("django_fsm", [])
    if set(owners) == {"django-fsm-2"}:
        return []
    return [
        Error(
            f"django_fsm is provided by {', '.join(sorted(set(owners))) or 'nothing'}.",
            hint="Run: pip uninstall django-fsm django-fsm-2, then pip install django-fsm-2.",
            id="config.E001",
        )
    ]
