# SPDX-License-Identifier: Apache-2.0
"""The acts on connectors. Administrators alone do them (`playbooks.manage_connectors`).

A connector keeps its name for ever, since published playbooks call it so, and is never deleted: it is disabled.
What it may reach and send is the operator's word (`HMS_ACT_CONNECTOR_HOSTS`, `HMS_ACT_CONNECTOR_SECRETS`): checked
here, and again at each call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import User
from audit import actions
from audit.services import Line, act, record
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem
from playbooks import catalogue, outbound, secret_refs
from playbooks.calls import ACTION
from playbooks.connectors import QUERY_KEY
from playbooks.models import Connector, ConnectorMethod
from playbooks.switching import ENABLED, switch

MANAGE = "playbooks.manage_connectors"

MAX_HEADERS = 20
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE = re.compile(r"[!-~](?:[ -~]{0,498}[!-~])?")
# What the call itself says, or what changes how it travels.
OURS = frozenset({"content-type", "accept", "accept-encoding", "user-agent", "idempotency-key"})
OF_THE_WIRE = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "content-encoding", "te", "trailer", "upgrade"}
    | {"expect", "keep-alive", "proxy-connection", "proxy-authorization", "http2-settings", "forwarded"}
)
OUR_PREFIXES = ("hms-act-", "webhook-")
SECRETIVE = re.compile(r"authori[sz]ation|cookie|token|secret|passw|api-?key|credential|signature", re.IGNORECASE)
VERDICTS = range(400, 500)


@dataclass(frozen=True, slots=True)
class Terms:
    """All of a connector that can be changed."""

    url: str
    title: str = ""
    method: str = ConnectorMethod.POST
    query_url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_seconds: int = 5
    read_seconds: int = 20
    total_seconds: int = 30
    verdict_statuses: tuple[int, ...] = ()
    secret_ref: str = ""
    secret_header: str = "Authorization"
    signing_ref: str = ""

    @classmethod
    def of(cls, connector: Connector) -> Terms:
        held = {each.name: getattr(connector, each.name) for each in fields(cls)}
        return cls(**{**held, "verdict_statuses": tuple(connector.verdict_statuses)})


@act(actions.CONNECTOR_CHANGE_DENIED)
def create_connector(*, actor: User, name: str, terms: Terms) -> Connector:
    """Make a connector, enabled. Raises Forbidden, and Invalid with all faults at once."""
    _require(actor)
    at = clock.now()
    connector = Connector(name=name, created_at=at, changed_at=at)
    _write(connector, terms)
    _refuse_faults([*_name_problems(name), *_problems(connector, terms)])
    try:
        with transaction.atomic():
            connector.save(force_insert=True)
    except IntegrityError:
        raise Invalid(f"There is a connector named {name} already.", errors=[Problem("name", "is taken")])
    told = {"connector": _told(terms)}
    record([Line(actions.CONNECTOR_CREATED, connector.audit_subject(), actor, at, to_state=ENABLED, private=told)])
    return connector


@act(actions.CONNECTOR_CHANGE_DENIED)
def change_connector(*, actor: User, connector_id: int, terms: Terms) -> Connector:
    """Give it other terms, for every call from now on. Raises Forbidden, NotFound, Invalid."""
    connector = _to_change(actor, connector_id)
    before, after = _told(Terms.of(connector)), _told(terms)
    changed = sorted(name for name in after if before[name] != after[name])
    _write(connector, terms)
    _refuse_faults(list(_problems(connector, terms)), subject=connector)
    if not changed:
        return connector
    connector.changed_at = at = clock.now()
    connector.save(update_fields=[*changed, "changed_at"])
    facts, told = {"fields": changed}, {"connector": after}
    record([Line(actions.CONNECTOR_CHANGED, connector.audit_subject(), actor, at, data=facts, private=told)])
    return connector


@act(actions.CONNECTOR_CHANGE_DENIED)
def disable_connector(*, actor: User, connector_id: int, reason: str) -> Connector:
    """Send nothing more: steps that call it fail with a fault that may pass. A call under way goes on."""
    connector = _to_change(actor, connector_id)
    switch(connector, to_enabled=False, actor=actor, reason=reason, action=actions.CONNECTOR_DISABLED)
    return connector


@act(actions.CONNECTOR_CHANGE_DENIED)
def enable_connector(*, actor: User, connector_id: int, reason: str) -> Connector:
    connector = _to_change(actor, connector_id)
    switch(connector, to_enabled=True, actor=actor, reason=reason, action=actions.CONNECTOR_ENABLED)
    return connector


# What the acts share --------------------------------------------------------------------------------------


def _require(actor: User) -> None:
    if not actor.has_perm(MANAGE):
        raise Forbidden("Only administrators make and change connectors.")


def _to_change(actor: User, connector_id: int) -> Connector:
    _require(actor)
    connector = Connector.objects.select_for_update().filter(pk=connector_id).first()
    if connector is None:
        raise NotFound("There is no such connector.")
    return connector


def _write(connector: Connector, terms: Terms) -> None:
    for name, value in _told(terms).items():
        setattr(connector, name, value)


def _told(terms: Terms) -> dict[str, Any]:
    """As JSON. There is no secret in it."""
    return {**asdict(terms), "headers": dict(terms.headers), "verdict_statuses": list(terms.verdict_statuses)}


def _refuse_faults(problems: list[Problem], subject: Connector | None = None) -> None:
    if problems:
        raise Invalid("The connector cannot be like this.", errors=problems, subject=subject)


# What a connector may be ----------------------------------------------------------------------------------


def _name_problems(name: str) -> Iterator[Problem]:
    if not re.fullmatch(ACTION, name):
        yield Problem("name", "Letters, digits and _.- make a name, as in exporter.publish.")
    elif catalogue.is_code(name):
        yield Problem("name", f"{name} is the name of an installed action.", "Choose another one.")


def _problems(connector: Connector, terms: Terms) -> Iterator[Problem]:
    yield from _address_problems("url", terms.url)
    yield from _query_problems(terms.query_url)
    yield from _header_problems(terms.headers)
    yield from _time_problems(terms)
    yield from _verdict_problems(terms.verdict_statuses)
    yield from _secret_problems(terms)
    try:
        connector.clean_fields(exclude=["name", "url", "query_url", "headers", "verdict_statuses"])
    except ValidationError as fault:
        yield from (Problem(name, message) for name, found in fault.message_dict.items() for message in found)


def _address_problems(name: str, url: str) -> Iterator[Problem]:
    try:
        outbound.checked_url(url, settings.CONNECTOR_HOSTS)
    except outbound.NotAllowed as refusal:
        yield Problem(name, str(refusal))


def _query_problems(url: str) -> Iterator[Problem]:
    if not url:
        return
    if url.count(QUERY_KEY) != 1:
        yield Problem("query_url", f"Write {QUERY_KEY} once, where the effect key stands in the address.")
        return
    yield from _address_problems("query_url", url.replace(QUERY_KEY, "key"))


def _header_problems(headers: Mapping[str, str]) -> Iterator[Problem]:
    if len(headers) > MAX_HEADERS:
        yield Problem("headers", f"There are more than {MAX_HEADERS} headers.")
    if len({name.lower() for name in headers}) < len(headers):
        yield Problem("headers", "A header stands there twice.")
    for name, value in headers.items():
        if fault := _fault_of_header(name) or _fault_of_value(name, value):
            yield Problem("headers", fault)


def _fault_of_header(name: str) -> str:
    if not HEADER_NAME.fullmatch(name):
        return f"{name[:50]!r} is not the name of a header."
    if name.lower() in OURS | OF_THE_WIRE or name.lower().startswith(OUR_PREFIXES):
        return f"The header {name} is set by the call itself."
    if SECRETIVE.search(name):
        return f"The header {name} looks as if it carried a secret, and is kept in the open: name the secret instead."
    return ""


def _fault_of_value(name: str, value: object) -> str:
    if isinstance(value, str) and HEADER_VALUE.fullmatch(value):
        return ""
    return f"The header {name} needs a value of 1 to 500 visible ASCII characters."


def _time_problems(terms: Terms) -> Iterator[Problem]:
    most = settings.CALL_TIMEOUT_SECONDS
    if not 1 <= terms.total_seconds <= most:
        yield Problem("total_seconds", f"A call takes from 1 to {most} seconds (HMS_ACT_CALL_TIMEOUT).")
        return
    for name in ("connect_seconds", "read_seconds"):
        if not 1 <= getattr(terms, name) <= terms.total_seconds:
            yield Problem(name, "From 1 second to what the whole call may take.")


def _verdict_problems(statuses: tuple[int, ...]) -> Iterator[Problem]:
    if len(set(statuses)) < len(statuses) or not all(status in VERDICTS for status in statuses):
        yield Problem("verdict_statuses", "A service says no with statuses from 400 to 499, each named once.")


def _secret_problems(terms: Terms) -> Iterator[Problem]:
    for name in ("secret_ref", "signing_ref"):
        if reference := getattr(terms, name):
            try:
                secret_refs.check_reference(reference, settings.CONNECTOR_SECRETS)
            except secret_refs.NotListed as refusal:
                yield Problem(name, str(refusal))
    header = terms.secret_header
    taken = OURS | OF_THE_WIRE | {name.lower() for name in terms.headers}
    if not HEADER_NAME.fullmatch(header) or header.lower() in taken or header.lower().startswith(OUR_PREFIXES):
        yield Problem("secret_header", "Name a header of its own for the secret, as Authorization or X-Api-Key.")
