# SPDX-License-Identifier: Apache-2.0
"""The public form of a playbook, for people without a log-in: an application comes in, a run begins.

Only a playbook whose newest published version says `web_form: {public: true}` has one. Nothing here shows more of
a run than its number, and that only to the one who sent it.
"""

from __future__ import annotations

from typing import Any

from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache

from accounts.models import User
from playbooks.models import Version, VersionState
from runs.forms import SchemaForm, form_class
from runs.intake import SentAlready, Ticket, TicketInvalid, start_from_form
from runs.models import Run

MAX_FORM_BYTES = 64 * 1024
SENDER = "web-form"  # the service user in whose name public forms start runs
TICKET = "_ticket"
TRAP = "_website"  # people do not see this field and leave it empty; programs that fill in everything do not
TRAPPED = "This looks as if a program had filled in the form. Leave the field “Website” empty, and send it again."
TOO_LONG = "This is too much text for one form. Shorten it, and send it again."
_THANKS_SALT = "runs.views.thanks"


@method_decorator(never_cache, name="dispatch")
class PublicForm(View):
    """GET shows the empty form; POST starts a run and leads to the page that thanks."""

    http_method_names = ["get", "head", "post"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        self.version = _public_version(kwargs["playbook"])
        self.form_class = form_class(self.version.definition.payload_schema)
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest, playbook: str) -> HttpResponse:
        return self.page(request, self.form_class())

    def post(self, request: HttpRequest, playbook: str) -> HttpResponse:
        form = self.form_class(request.POST)
        if int(request.headers.get("Content-Length") or 0) > MAX_FORM_BYTES:
            form.add_error(None, TOO_LONG)
        if request.POST.get(TRAP):
            form.add_error(None, TRAPPED)
        if not form.is_valid():
            return self.page(request, form, ticket=request.POST.get(TICKET, ""))
        try:
            ticket = Ticket.read(request.POST.get(TICKET, ""), playbook=playbook)
            run = start_from_form(version=self.version, ticket=ticket, payload=form.payload, actor=_sender())
        except (SentAlready, TicketInvalid) as refusal:
            form.add_error(None, refusal.detail)
            return self.page(request, form)
        return redirect("form-thanks", reference=signing.dumps(run.pk, salt=_THANKS_SALT))

    def page(self, request: HttpRequest, form: SchemaForm, *, ticket: str = "") -> HttpResponse:
        context = {
            "form": form,
            "words": self.version.definition.form,
            "title": self.version.definition.form.title or str(self.version.playbook),
            "ticket_name": TICKET,
            "ticket": ticket or Ticket.new(self.version.playbook.slug).signed(),
            "trap_name": TRAP,
        }
        return render(request, "runs/form.html", context, status=422 if form.errors else 200)


@method_decorator(never_cache, name="dispatch")
class FormThanks(View):
    """What the sender reads afterwards. The reference is signed: nobody learns of a run by counting."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest, reference: str) -> HttpResponse:
        try:
            number = signing.loads(reference, salt=_THANKS_SALT)
        except signing.BadSignature:
            raise Http404
        run = Run.objects.select_related("version__playbook").filter(pk=number).first()
        if run is None:
            raise Http404
        definition = run.version.definition
        context = {"run": run, "title": definition.form.title or str(run.version.playbook), "words": definition.form}
        return render(request, "runs/form_thanks.html", context)


def _public_version(playbook: str) -> Version:
    published = Version.objects.filter(playbook__slug=playbook, state=VersionState.PUBLISHED)
    version = published.select_related("playbook").order_by("-number").first()
    if version is None or not version.definition.form.public:
        raise Http404
    return version


def _sender() -> User:
    return User.objects.get(username=SENDER)
