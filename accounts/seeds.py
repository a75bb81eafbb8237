# SPDX-License-Identifier: Apache-2.0
"""What every installation has from its first migration on: four permission groups and two service users.

Permissions are named by text, so that no room above is imported, and granted as each app's permissions come
to be. Running it again adds what is missing and takes nothing away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission

STAFF, AUTHOR, ADMINISTRATOR, AUDITOR = "staff", "playbook author", "administrator", "auditor"
WORKER = "worker"  # runs service steps, on behalf of their svc:* role
WEB_FORM = "web-form"  # starts runs for the public
OWN_USERS = (WORKER, WEB_FORM)

OUR_APPS = ("audit", "accounts", "playbooks", "runs", "approvals")
MAY_START = "runs.start"  # every agent's, by default
MANAGES = {
    "playbooks.write",
    "playbooks.publish",
    "playbooks.manage_connectors",
    "playbooks.govern",
    "approvals.manage_templates",
    "approvals.manage_limits",
    "approvals.manage_calendars",
    "approvals.manage_delegations",
    "approvals.assign_request",
    "approvals.extend_request",
    "approvals.manage_policies",
    "runs.start",
    "runs.control",
    "approvals.manage_external",
    "approvals.resend_notification",
    "accounts.manage",
    "accounts.add_user",
    "accounts.change_user",
}


def _seen(name: str) -> bool:
    """Whatever our rooms hold, the groups and the schedules, for reading."""
    app, codename = name.split(".")
    if app in OUR_APPS:
        return codename == "view" or codename.startswith("view_")
    return name in {"auth.view_group", "django_q.view_schedule"}


# People in `staff` see and do what their roles let them; the group itself grants nothing.
MAY: dict[str, Callable[[str], bool]] = {
    STAFF: lambda name: False,
    AUTHOR: lambda name: name == "playbooks.write" or (name.startswith("playbooks.") and _seen(name)),
    ADMINISTRATOR: lambda name: name in MANAGES or _seen(name),
    AUDITOR: _seen,
}
PERMISSION_GROUPS = tuple(MAY)
SEEDED_APPS = (*OUR_APPS, "auth", "django_q")


def after_migrate(sender: Any, apps: Any = None, using: str = "default", **kwargs: Any) -> None:
    """Called after each app's permissions have been made, in whatever order the apps come."""
    if sender.label not in SEEDED_APPS or using != "default" or not _tables_stand(apps):
        return
    seed_groups(sender.label)
    if sender.label in {"accounts", "runs"}:
        seed_actors()


def _tables_stand(apps: Any) -> bool:
    """False while the accounts are migrated away; a flush gives no state of apps, and takes no table away."""
    return apps is None or "user" in apps.all_models["accounts"]


def seed_groups(app_label: str) -> None:
    permissions = Permission.objects.filter(content_type__app_label=app_label)
    named = {f"{app_label}.{permission.codename}": permission for permission in permissions}
    for group_name, may in MAY.items():
        group, _ = Group.objects.get_or_create(name=group_name)
        granted = [permission for name, permission in named.items() if may(name)]
        if granted:
            group.permissions.add(*granted)


def seed_actors() -> None:
    """The service users that act for the product: they hold no password, no key and no role."""
    _service_user(WORKER)
    grant(_service_user(WEB_FORM), MAY_START)


def _service_user(username: str) -> Any:
    from accounts.models import Kind, User  # this module is loaded before the models are

    found = User.objects.filter(username=username).first()
    return found or User.objects.create(username=username, kind=Kind.SERVICE, password=make_password(None))


def grant(user: Any, permission: str) -> None:
    """Give one user a permission of its own, unless its app is not installed yet."""
    app_label, codename = permission.split(".")
    found = Permission.objects.filter(content_type__app_label=app_label, codename=codename).first()
    if found is not None:
        user.user_permissions.add(found)
