# SPDX-License-Identifier: Apache-2.0
"""Action requests in the admin: the inbox as their list, the decision page as their front, all fields as evidence.

Who may open what is said by `visible_to`, row by row. Nothing here writes; deciding is the page's POST.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import re_path
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.views import ChangeList

from accounts.models import User
from approvals import (  # noqa: F401  they register further pages
    channel_admin,
    columns,
    external_admin,
    inbox,
    message_admin,
    people_admin,
    people_views,
    policy_admin,
    request_pages,
    rights,
    standing_admin,
    talk_views,
)
from approvals.evidence import answer_of
from approvals.inlines import block, inlines_of
from approvals.models import ActionRequest
from approvals.notify import link_to
from approvals.receipt_admin import ReceiptAdmin as ReceiptAdmin  # registers itself, and the keys
from approvals.receipt_views import undo_page
from approvals.statistics_admin import RequestTallyAdmin as RequestTallyAdmin  # registers itself
from approvals.template_admin import (
    RequestTemplateAdmin as RequestTemplateAdmin,
)  # registers itself, as does AgentLimitAdmin
from approvals.views import decision_page
from audit.shown import as_text, made_visible
from config import clock
from config.admin import EvidenceAdmin
from config.csp import strict_csp
from playbooks.models import Playbook, Version

TAB = "tab"
REQUEST_ID = re.compile(r"har_[0-9a-f]{12}")


class InboxList(ChangeList):
    """The list of one tab. The tab is no filter: it has its own order, and stays when filters are cleared."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.tab = inbox.tab_named(request.GET.get(TAB))
        super().__init__(request, *args, **kwargs)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[ActionRequest]:
        self.root_queryset: Any = self.tab.of(self.root_queryset, request.user)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        rights.know_doers(self.result_list)

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        return {name: value for name, value in super().get_filters_params(params).items() if name != TAB}


class ByPlaybook(admin.SimpleListFilter):
    """Playbooks in which this person has a part; with `runs.view`, all."""

    title = parameter_name = "playbook"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        playbooks = Playbook.objects.order_by("slug")
        if not request.user.has_perm("runs.view"):
            mine = Version.objects.filter(playbook=OuterRef("pk"), roles__user=request.user.pk)
            playbooks = playbooks.filter(Exists(mine))
        return [(playbook.slug, made_visible(str(playbook))) for playbook in playbooks]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ActionRequest]) -> QuerySet[ActionRequest]:
        known = {slug for slug, _ in self.lookup_choices}
        return queryset.filter(run__version__playbook__slug=self.value()) if self.value() in known else queryset


@admin.register(ActionRequest)
class ActionRequestAdmin(EvidenceAdmin):
    change_list_template = "approvals/inbox.html"
    list_display_links = None  # a row leads to the decision page by its title
    list_filter = ("severity", "priority", "state", ByPlaybook)
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()  # each tab has the order in which it is to be worked through
    search_fields = ("title", "id")
    search_help_text = "Title, or id (har_…)"
    actions_detail = ("open_page",)
    fieldsets = (
        (
            "What is asked",
            {"fields": ("id", "asked_title", "asked_description", "request_type", "role", "severity", "priority")},
        ),
        ("By whom", {"fields": ("asker", "run_link", "step", "workflow")}),
        (
            "What a decision binds",
            {"fields": ("revision", "digest", "asked_for", "asked_form", "asked_options", "frozen_policy")},
        ),
        (
            "What became of it",
            {"fields": ("state", "outcome", "decider", "decided_at", "answer", "reason", "named_decider")},
        ),
        ("Claim", {"fields": ("claimant", "claim_expires_at")}),
        ("Times", {"fields": ("created_at", "updated_at", "follow_up_at", "due_at", "expires_at", "next_check_at")}),
    )

    class Media:
        css = {"all": ("hms_act/inbox.css", "audit/evidence.css")}

    # Who may see what

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Of the pages; which rows they hold is for `visible_to` to say."""
        user: Any = request.user
        return user.is_authenticated and user.is_human and bool(user.roles or user.has_perm("runs.view"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[ActionRequest]:
        seen = ActionRequest.objects.visible_to(request.user)
        rows = seen.select_related("run__version__playbook", "task", "requester", "claimed_by", "decided_by")
        read = rows.prefetch_related(*rights.WITH_WHAT_BARS)
        return read.defer("run__payload", "run__position", "run__version__document")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> ActionRequest | None:
        return super().get_object(request, object_id, from_field) if REQUEST_ID.fullmatch(object_id) else None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return super().change_view(request, _escaped(object_id), form_url, extra_context)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return super().history_view(request, _escaped(object_id), extra_context)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return inlines_of(obj)

    # The decision page

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(strict_csp(decision_page))
        here = rf"^(?P<request_id>{REQUEST_ID.pattern})/decide/\Z"
        undo = self.admin_site.admin_view(strict_csp(undo_page))
        there = rf"^(?P<request_id>{REQUEST_ID.pattern})/undo/\Z"
        own = [
            re_path(here, page, name="approvals_actionrequest_decide"),
            re_path(there, undo, name="approvals_actionrequest_undo"),
        ]
        around = [
            re_path(
                rf"^(?P<request_id>{REQUEST_ID.pattern})/decide/{name}/\Z",
                self.admin_site.admin_view(strict_csp(view)),
                name=f"approvals_actionrequest_{name}",
            )
            for name, view in talk_views.ACTS.items()
        ]
        acts = [*around, *request_pages.urls(self, REQUEST_ID.pattern), *people_views.urls(self)]
        return [*own, *acts, *super().get_urls()]

    @action(description="Open the decision page", permissions=["view"])
    def open_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect(link_to(self.find(request, unquote(_escaped(object_id)))))

    # The inbox

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return InboxList

    def get_ordering(self, request: HttpRequest) -> Any:
        return inbox.tab_named(request.GET.get(TAB)).order

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        current = inbox.tab_named(request.GET.get(TAB))
        tabs = [(tab, tab.count(request.user), tab is current) for tab in inbox.TABS.values()]
        return super().changelist_view(request, {**(extra_context or {}), "title": "Inbox", "tabs": tabs})

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        now = clock.now()
        asked = (columns.severity, columns.title_for(request.user), columns.place, columns.asked_by, columns.run)
        match inbox.tab_named(request.GET.get(TAB)).key:
            case "to_decide":
                return (*asked, columns.deadline_at(now), columns.age_at(now), columns.claimed)
            case "decided":
                return (*asked, columns.decision, columns.decided_at)
            case _:
                return (*asked, columns.state, columns.age_at(now))

    # The evidence

    @admin.display(description="title")
    def asked_title(self, request: ActionRequest) -> str:
        return made_visible(request.title)

    @admin.display(description="description")
    def asked_description(self, request: ActionRequest) -> SafeString:
        return block(made_visible(request.description))

    @admin.display(description="requester")
    def asker(self, request: ActionRequest) -> str:
        return _name(request.requester)

    @admin.display(description="decided by")
    def decider(self, request: ActionRequest) -> str:
        return _name(request.decided_by)

    @admin.display(description="claimed by")
    def claimant(self, request: ActionRequest) -> str:
        return _name(request.claimed_by)

    @admin.display(description="run")
    def run_link(self, request: ActionRequest) -> str | None:
        return columns.run(request)

    @admin.display(description="step")
    def step(self, request: ActionRequest) -> str | None:
        return made_visible(request.task.step) if request.task else None

    @admin.display(description="workflow id")
    def workflow(self, request: ActionRequest) -> str:
        return made_visible(request.workflow_id)

    @admin.display(description="asked")
    def asked_for(self, request: ActionRequest) -> SafeString:
        return block(as_text(request.asked))

    @admin.display(description="form")
    def asked_form(self, request: ActionRequest) -> SafeString:
        return block(as_text(request.form) if request.form is not None else "none: nothing is filled in")

    @admin.display(description="options")
    def asked_options(self, request: ActionRequest) -> SafeString:
        return block(as_text(request.options) if request.options else "approve or reject")

    @admin.display(description="policy")
    def frozen_policy(self, request: ActionRequest) -> SafeString:
        return block(as_text(request.policy))

    @admin.display(description="answer")
    def answer(self, request: ActionRequest) -> SafeString:
        return block("\n".join(f"{value.name}: {value.text}" for value in answer_of(request)))

    @admin.display(description="reason")
    def reason(self, request: ActionRequest) -> SafeString:
        return block(made_visible(request.rejection_reason or request.notes))

    @admin.display(description="decider named by the caller, not checked")
    def named_decider(self, request: ActionRequest) -> str:
        return made_visible(request.claimed_decider)


def _escaped(object_id: str) -> str:
    """As the admin writes ids in addresses. One typed as it is read would lose its `_` and two figures after it."""
    return str(quote(object_id)) if REQUEST_ID.fullmatch(object_id) else object_id


def _name(user: User | None) -> str:
    """As text: not everybody who reads this may open the page of a user."""
    return f"{made_visible(user.get_username())} ({user.get_kind_display().lower()})" if user else ""
