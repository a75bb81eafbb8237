# SPDX-License-Identifier: Apache-2.0
"""What all admin pages share: evidence is shown and never edited; every act is a form, and happens on POST.

A model's admin derives from `EvidenceAdmin` and offers acts by `actions_detail` or `actions_list`, each a method
under Unfold's `@action` that returns `form_page(…)` or `confirm_page(…)`: GET shows the page and changes nothing.
There is no transaction around such a page, so that the service it calls is the outermost one and a refused
attempt stays in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.filters import SimpleListFilter
from django.contrib.admin.utils import flatten, flatten_fieldsets, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget

from config.errors import Forbidden, Refused

# Gives the form: unbound for None, bound to what was sent otherwise.
MakeForm = Callable[[QueryDict | None], forms.Form]
# Does the act with the form's values; answers the sentence to show afterwards, or the whole page.
Act = Callable[[dict[str, Any]], str | HttpResponse]

DIGITS_OF_NO_ID = 19  # neither database has numbers of so many
FILTERED_HOW = frozenset({"", "exact", "isnull", "id__exact"})  # what the filters' links say


class EvidenceAdmin(ModelAdmin):
    """Every field read-only; no row added, changed or deleted by hand, in bulk or through its history."""

    actions: Any = None
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """A list is narrowed by its own filters alone: any other would tell, bit by bit, what no column shows."""
        field, _, how = lookup.partition("__")
        if lookup in {each.parameter_name for each in self.list_filter if _is_of_our_own(each)}:
            return True  # it reads its value itself
        fields = {_field_of(each) for each in self.list_filter if not _is_of_our_own(each)}
        return field in fields and how in FILTERED_HOW and self._is_possible(field, how, value)

    def _is_possible(self, field: str, how: str, value: str) -> bool:
        """A number that no row can have is an error to SQLite, and to PostgreSQL another one."""
        is_of_rows = self.opts.get_field(field).is_relation
        return not is_of_rows or how == "isnull" or (value.isdecimal() and len(value) < DIGITS_OF_NO_ID)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """A number that no row can have has none: where a row's key is another row's, SQLite takes it for an error."""
        if object_id.isdecimal() and len(object_id) >= DIGITS_OF_NO_ID:
            return None
        return super().get_object(request, object_id, from_field)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: Any) -> None:
        raise PermissionDenied("Rows of this kind are not edited by hand.")

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        raise PermissionDenied("Rows of this kind are not deleted.")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        if self.fieldsets:
            return flatten_fieldsets(self.fieldsets)
        if self.fields:
            return flatten(self.fields)
        own = [*self.opts.fields, *self.opts.many_to_many]
        return [*(field.name for field in own), *self.readonly_fields]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Without the help that fields give to whoever edits them."""
        no_help = {field.name: "" for field in self.opts.get_fields()}
        return super().get_form(request, obj, change=change, **{"help_texts": no_help, **kwargs})

    def pages_of_row(self, **pages: Callable[..., HttpResponse]) -> list[URLPattern]:
        """Further pages of one row, each at /<its number>/<name>/, for `get_urls`."""
        rows = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(page), name=f"{rows}_{name}")
            for name, page in pages.items()
        ]

    def name_of_rows(self) -> str:
        return str(self.opts.verbose_name_plural)

    def seen(self, request: HttpRequest, pk: Any) -> Any:
        """The row a page of our own is about, for those who may see it; or 404. Raises Forbidden."""
        if not self.has_view_permission(request):
            raise Forbidden(f"You may not see {self.name_of_rows()}.")
        return self.find(request, str(pk))

    def find(self, request: HttpRequest, object_id: str) -> Any:
        """The row an act is about, or 404."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return row


def _is_of_our_own(declared: Any) -> bool:
    return isinstance(declared, type) and issubclass(declared, SimpleListFilter)


def _field_of(declared: Any) -> str:
    """Of an entry in `list_filter` that names one."""
    return str(declared[0] if isinstance(declared, tuple | list) else declared)


class HistoryAdmin(SimpleHistoryAdmin, EvidenceAdmin):
    """Evidence, with what the field history holds of it. The library's revert, a POST, is not to be had."""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        self.find(request, unquote(object_id))  # what no row can have for an id is an error to the library
        return super().history_view(request, object_id, extra_context)

    def history_form_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        self.find(request, unquote(object_id))
        return super().history_form_view(request, object_id, *args, **kwargs)


def lacking(request: HttpRequest, permission: str) -> str:
    """Why a button that needs the permission cannot be pressed; "" if it can."""
    return "" if request.user.has_perm(permission) else f"The permission {permission} is needed."


class ReasonForm(forms.Form):
    reason = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        max_length=2000,
        help_text="Kept in the action log.",
    )

    def __init__(self, *args: Any, required: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = required


def confirm_page(
    request: HttpRequest,
    admin: ModelAdmin,
    *,
    title: str,
    button: str,
    act: Callable[[str], str | HttpResponse],
    back: str,
    intro: str = "",
    reason_required: bool = True,
    danger: bool = False,
) -> HttpResponse:
    """Ask before an act: GET shows the question and a field for the reason, POST calls `act(reason)`."""
    return form_page(
        request,
        admin,
        lambda sent: ReasonForm(sent, required=reason_required),
        title=title,
        button=button,
        act=lambda given: act(given["reason"]),
        back=back,
        intro=intro,
        danger=danger,
    )


def form_page(
    request: HttpRequest,
    admin: ModelAdmin,
    make_form: MakeForm,
    *,
    title: str,
    button: str,
    act: Act,
    back: str,
    intro: str = "",
    danger: bool = False,
) -> HttpResponse:
    """GET shows the form; POST does the act, says so and goes back.

    What is not valid or is refused comes back on the same page, with the sentence and with everything typed.
    """
    form = make_form(request.POST if request.method == "POST" else None)
    refusal: Refused | None = None
    if form.is_bound and form.is_valid():
        try:
            answer = act(form.cleaned_data)
        except Refused as refused:
            refusal = refused
        else:
            if isinstance(answer, HttpResponse):
                return answer
            messages.success(request, answer)
            return HttpResponseRedirect(back)
    shown = {"form": form, "refusal": refusal, "intro": intro, "button": button, "back": back, "danger": danger}
    status = refusal.status if refusal else 422 if form.is_bound else 200
    return admin_page(request, admin, "config/form_page.html", title=title, status=status, **shown)


def admin_page(
    request: HttpRequest, admin: ModelAdmin, template: str, *, title: str, status: int = 200, **context: Any
) -> TemplateResponse:
    """A page of our own in the admin's frame."""
    site = admin.admin_site
    request.current_app = site.name
    frame = {**site.each_context(request), "opts": admin.opts, "title": title, "media": admin.media}
    return TemplateResponse(request, template, {**frame, **context}, status=status)
