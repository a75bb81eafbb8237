# SPDX-License-Identifier: Apache-2.0
"""What an installation has from its first migration on, and what the four groups may do."""

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management.sql import emit_post_migrate_signal

from accounts import seeds
from accounts.models import Kind, User


@pytest.mark.parametrize("username", [seeds.WORKER, seeds.WEB_FORM])
def test_the_products_own_users_are_services_without_a_password(db, username):
    user = User.objects.get(username=username)

    assert user.kind == Kind.SERVICE
    assert not user.has_usable_password()
    assert user.roles == frozenset()


def test_only_the_web_form_may_start_runs_of_the_two(db):
    may = {user.username for user in User.objects.all() if user.has_perm("runs.start")}

    assert may == {seeds.WEB_FORM}


def test_a_member_of_staff_has_no_permission_by_the_group(staff_member):
    assert staff_member.get_all_permissions() == set()


def test_an_author_writes_playbooks_and_does_not_publish_them(playbook_author):
    assert playbook_author.has_perm("playbooks.write")
    assert playbook_author.has_perm("playbooks.view_version")
    assert not playbook_author.has_perm("playbooks.publish")
    assert not playbook_author.has_perm("runs.view")


@pytest.mark.parametrize("permission", [*sorted(seeds.MANAGES), "runs.view", "audit.view_entry", "auth.view_group"])
def test_an_administrator_manages_and_sees_everything(administrator, permission):
    assert administrator.has_perm(permission)


def test_an_auditor_sees_everything_and_changes_nothing(auditor):
    permissions = auditor.get_all_permissions()

    assert {"runs.view", "runs.view_task", "audit.view_entry", "audit.view_disclosure"} <= permissions
    assert all(name.split(".")[1].startswith("view") for name in permissions)


def test_nobody_may_delete(administrator, auditor, playbook_author, staff_member):
    for user in (administrator, auditor, playbook_author, staff_member):
        assert not [name for name in user.get_all_permissions() if ".delete" in name]


def test_an_agent_may_start_runs_by_default(validator):
    assert validator.has_perm("runs.start")


def test_the_signal_after_a_migration_or_a_flush_brings_it_all_back(db):
    for model in (User, Group, Permission):
        model.objects.all().delete()

    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")

    assert set(User.objects.values_list("username", flat=True)) == {seeds.WORKER, seeds.WEB_FORM}
    assert User.objects.get(username=seeds.WEB_FORM).has_perm("runs.start")
    granted = {group.name: group.permissions.count() for group in Group.objects.all()}
    assert set(granted) == set(seeds.PERMISSION_GROUPS)
    assert granted[seeds.ADMINISTRATOR] > granted[seeds.AUDITOR] > granted[seeds.AUTHOR] > granted[seeds.STAFF] == 0


def test_seeding_again_changes_nothing(db):
    before = {group.name: set(group.permissions.all()) for group in Group.objects.all()}

    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")

    assert {group.name: set(group.permissions.all()) for group in Group.objects.all()} == before
    assert User.objects.count() == len(seeds.OWN_USERS)
