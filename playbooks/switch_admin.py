# SPDX-License-Identifier: Apache-2.0
"""The admin of what is disabled and enabled again. Which buttons are shown is a courtesy: the services decide."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from config.admin import HistoryAdmin, confirm_page
from playbooks.switching import DISABLED, ENABLED


def text_field(label: str, *, required: bool = False, max_length: int = 300, help_text: str = "") -> forms.CharField:
    widget = UnfoldAdminTextInputWidget()
    return forms.CharField(label=label, required=required, max_length=max_length, help_text=help_text, widget=widget)


class SwitchAdmin(HistoryAdmin):
    """Rows with a `name` that `is_enabled`."""

    permission: str  # for every act
    disabled_means: str
    enabled_means: str

    def switch(self, request: HttpRequest, row: Any, reason: str, *, to_enabled: bool) -> None:
        """Call the service."""
        raise NotImplementedError

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        row = self.get_object(request, str(object_id))
        idle = "enable" if row is None or row.is_enabled else "disable"
        offered = super().get_actions_detail(request, object_id)
        return [each for each in offered if each.action_name != f"{self._rows}_{idle}"]

    def has_manage_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm(self.permission)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(self.permission)

    @display(description="state", label={ENABLED: "success", DISABLED: "danger"})
    def shown_state(self, row: Any) -> str:
        return ENABLED if row.is_enabled else DISABLED

    @action(description="Disable", url_path="disable", permissions=["manage"])
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch_page(request, self.find(request, object_id), "Disable", self.disabled_means)

    @action(description="Enable", url_path="enable", permissions=["manage"])
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch_page(request, self.find(request, object_id), "Enable", self.enabled_means)

    def _switch_page(self, request: HttpRequest, row: Any, word: str, intro: str) -> HttpResponse:
        def act(reason: str) -> str:
            self.switch(request, row, reason, to_enabled=word == "Enable")
            return f"{row.name} is {word.lower()}d."

        return confirm_page(
            request,
            self,
            title=f"{word} {row.name}?",
            intro=intro,
            button=word,
            act=act,
            back=self.page_of(row.pk),
            danger=word == "Disable",
        )

    @property
    def _rows(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"

    def page_of(self, pk: int) -> str:
        return reverse(f"admin:{self._rows}_change", args=[pk])
