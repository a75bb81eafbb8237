# SPDX-License-Identifier: Apache-2.0
"""The forms of the accounts' admin pages. They read; the services decide."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import Group
from unfold.forms import AdminOwnPasswordChangeForm, AdminPasswordChangeForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import Kind, User, is_role
from accounts.services import KEY_LIFETIME, LONGEST_KEY_LIFETIME, set_password

KINDS = ((Kind.HUMAN, "A person"), (Kind.AGENT, "An AI agent"), (Kind.SERVICE, "A program"))
ROLES_OF = {Kind.HUMAN: ("human:", "Roles of people"), Kind.AGENT: ("agent:", "Roles of agents")}
ROLES_OF[Kind.SERVICE] = ("svc:", "Roles of programs")
PERMISSION_GROUPS = "Permissions"


def role_choices(*kinds: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """What users of these kinds may be members of, in sections."""
    names = list(Group.objects.order_by("name").values_list("name", flat=True))
    sections = [(title, [name for name in names if name.startswith(prefix)]) for prefix, title in map(_roles_of, kinds)]
    if Kind.HUMAN in kinds:
        sections.append((PERMISSION_GROUPS, [name for name in names if not is_role(name)]))
    return [(title, [(name, name) for name in members]) for title, members in sections if members]


def _roles_of(kind: str) -> tuple[str, str]:
    return ROLES_OF[Kind(kind)]


def _text(label: str, *, required: bool = False, max_length: int = 150, help_text: str = "") -> forms.CharField:
    widget = UnfoldAdminTextInputWidget()
    return forms.CharField(label=label, required=required, max_length=max_length, help_text=help_text, widget=widget)


class RolesForm(forms.Form):
    roles = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="Roles say which steps this user works on. Permissions say what a person may do beside.",
    )

    def __init__(self, *args: Any, kinds: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        roles = self.fields["roles"]
        assert isinstance(roles, forms.MultipleChoiceField)
        roles.choices = role_choices(*kinds)


class NewUserForm(RolesForm):
    kind = forms.ChoiceField(choices=KINDS, widget=UnfoldAdminSelectWidget())
    username = _text("Username", required=True, help_text="Their name in the log. It cannot be changed later.")
    first_name = _text("First name")
    last_name = _text("Last name")
    email = forms.EmailField(required=False, widget=UnfoldAdminEmailInputWidget())
    model_name = _text("AI model", max_length=100, help_text="The model behind an agent, as its operator states it.")

    field_order = ("kind", "username", "first_name", "last_name", "email", "model_name", "roles")


class DetailsForm(forms.Form):
    first_name = _text("First name")
    last_name = _text("Last name")
    email = forms.EmailField(required=False, widget=UnfoldAdminEmailInputWidget())
    model_name = _text("AI model", max_length=100, help_text="The model behind an agent, as its operator states it.")


class NewRoleForm(forms.Form):
    name = _text("Name", required=True, max_length=110, help_text="human:…, agent:… or svc:…, as playbooks name it.")


class NewKeyForm(forms.Form):
    user = forms.ModelChoiceField(
        queryset=User.objects.none(),
        widget=UnfoldAdminSelectWidget(),
        help_text="Whoever holds the key acts as this user. A person's key is made by that person.",
    )
    name = _text("Name", max_length=100, help_text="Where the key will be used, so that it can be told from others.")
    days = forms.IntegerField(
        label="Works for, in days",
        min_value=1,
        max_value=LONGEST_KEY_LIFETIME.days,
        initial=KEY_LIFETIME.days,
        widget=UnfoldAdminIntegerFieldWidget(),
    )

    def __init__(self, *args: Any, users: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        user = self.fields["user"]
        assert isinstance(user, forms.ModelChoiceField)
        user.queryset = users


class PasswordForm(AdminPasswordChangeForm):
    """Django's own, which asks twice. Taking the password away is what deactivating is for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.pop("usable_password", None)


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """Django's own, which asks for the old password; the new one is set by the service, and logged."""

    def save(self, commit: bool = True) -> User:
        changed = set_password(user_id=self.user.pk, password=self.cleaned_data["new_password1"], actor=self.user)
        self.user.password = changed.password  # the session goes on under the new one
        return changed
