# SPDX-License-Identifier: Apache-2.0
"""Policies in the admin: what they say, their versions, and the acts on them as forms. The services decide."""

from __future__ import annotations

from typing import Any

import yaml
from django import forms
from django.contrib import admin

from accounts.models import User
from approvals import policies, policy_document, policy_shown
from approvals.models import Policy, PolicyVersion
from approvals.policy import Policy as Rules
from playbooks.version_pages import Kind, VersionedPages, VersionPages, slug_field, text_field

EXAMPLE = """\
stages:
  - name: legal
    rules:
      - {role: "human:legal", approvals: 1}
  - name: two of the board
    rules:
      - {role: "human:board", approvals: 2}
reasons:
  on_approve_from: high
hold: 10m
"""
OF_THE_STEP = "the role that is asked"


class PolicyForm(forms.Form):
    text = text_field("Policy", rows=24)


class NewPolicyForm(PolicyForm):
    slug = slug_field("What playbooks and requests name.")
    title = forms.CharField(max_length=200, help_text="What people read.")
    field_order = ("slug", "title", "text")


def as_text(version: PolicyVersion) -> str:
    return yaml.safe_dump(version.document, sort_keys=False, allow_unicode=True, width=110)


def said(version: PolicyVersion) -> dict[str, Any]:
    """In sentences, and as it is written."""
    sentences = [*policy_shown.in_words(_rules(version)), *cautions(version)]
    return {"sentences": sentences, "text": as_text(version)}


def cautions(version: PolicyVersion) -> list[str]:
    return policy_shown.cautions(_rules(version))


def _rules(version: PolicyVersion) -> Rules:
    return policy_document.written(version.document, role=OF_THE_STEP)


def _create(*, actor: User, slug: str, title: str, text: str) -> PolicyVersion:
    return policies.create_policy(actor=actor, slug=slug, title=title, document=text)


def _add(*, actor: User, slug: str, text: str) -> PolicyVersion:
    return policies.add_version(actor=actor, slug=slug, document=text)


def _edit(*, actor: User, slug: str, number: int, text: str) -> PolicyVersion:
    return policies.edit_version(actor=actor, slug=slug, number=number, document=text)


POLICIES = Kind(
    permission=policies.MANAGE,
    intro="YAML or JSON. Stages are worked through in order; in each, every rule needs its approvals. Nothing changes "
    "before the version is published, and requests keep the version they were made under.",
    example=EXAMPLE,
    form=PolicyForm,
    new_form=NewPolicyForm,
    as_text=as_text,
    said=said,
    create=_create,
    add=_add,
    edit=_edit,
    publish=policies.publish_version,
    retire=policies.retire_version,
    cautions=cautions,
    in_use="Requests made from now on go by it.",
    retire_button="Retire the policy",
    retire_intro="Later requests use the newest version that is still published. Where none is, a playbook that names "
    "the policy cannot ask, and its step becomes an incident. Requests made under this version keep it.",
)


@admin.register(Policy)
class PolicyAdmin(VersionedPages):
    kind = POLICIES
    template = "approvals/policy.html"
    list_display = ("slug", "shown_title", "newest")


@admin.register(PolicyVersion)
class PolicyVersionAdmin(VersionPages):
    kind = POLICIES
    template = "approvals/policy_version.html"
    publish_template = "approvals/publish_policy.html"
    list_filter = ("state", ("policy", admin.RelatedOnlyFieldListFilter))
    search_fields = ("policy__slug", "digest")
    search_help_text = "Id of the policy, or a digest"
