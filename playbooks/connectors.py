# SPDX-License-Identifier: Apache-2.0
"""Connectors: actions that are a call to an HTTP service, named in the admin instead of written as code.

- What is sent is one JSON object, `{call, step, arguments, payload, data}`, with `input` where the step maps one; the
  same byte for byte under one effect key, so that a service may compare a repetition with what it had. What differs
  between attempts stands in headers.
- `Idempotency-Key` is the effect key: the service does its work once under it.
- The JSON object that comes back is the step's output. 4xx is a fault for good, but for those that ask to try
  again; no answer and 5xx are faults that may pass; the connector's verdict statuses are the service's own "no".
- A secret that a person gave, and that the step's `input` names, stands in `input` and nowhere else; it is handed out
  once, so an attempt after that is not made.
- A secret goes from where its reference points into the request, and nowhere else: what a service repeats of it is
  blotted out of output and faults.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any

from django.conf import settings
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from audit.canonical import canonical
from config import clock
from config.api import parse_json
from config.errors import Refused
from playbooks import outbound, secret_refs
from playbooks.catalogue import Action, ActionCall, Permanent, Source, Verdict
from playbooks.models import Connector
from playbooks.outbound import Answer, AnswerUnusable, NotAllowed, Outgoing, Resolver, Timeouts

BEARER_HEADER = "Authorization"
ASKS_AGAIN = frozenset({408, 409, 425, 429})  # of the 4xx, those that a repetition under the same key may cure
QUERY_KEY = "{key}"  # stands for the effect key in the address to ask at
NOTHING_CAME_OF_IT = 404
SAID_CHARACTERS = 200  # of what a service says beside its status


class ConnectorDisabled(Exception):
    """It is switched off in the admin; once it is on again, trying again will do."""


class SecretUnavailable(Exception):
    """The worker's host has no usable secret under the connector's reference."""


class ServiceBusy(Exception):
    """The service asked to be asked again."""


class ServiceFault(Exception):
    """The service failed; whether it acted is unknown."""


class ServiceRefused(Permanent):
    """The service will never accept this request: the request or our set-up is wrong."""


# In the catalogue -----------------------------------------------------------------------------------------


def find(name: str) -> Action | None:
    connector = Connector.objects.filter(name=name).first()
    if connector is None:
        return None
    asks = partial(query, connector) if connector.query_url else None
    return Action(connector.name, connector.shown_name, partial(call, connector), asks, partial(ready, connector))


def names() -> Iterable[str]:
    """Disabled ones too: a playbook that calls one is right, and its runs wait."""
    return Connector.objects.values_list("name", flat=True)


SOURCE = Source(find, names)


def ready(connector: Connector) -> None:
    """Raises ConnectorDisabled, NotAllowed, SecretUnavailable."""
    if not connector.is_enabled:
        raise ConnectorDisabled(f"The connector {connector.name} is disabled. Enable it, or wait until somebody does.")
    for reference in (connector.secret_ref, connector.signing_ref):
        _secret(reference)


# The call -------------------------------------------------------------------------------------------------


def call(
    connector: Connector,
    given: ActionCall,
    *,
    resolve: Resolver = outbound.system_resolver,
    trust: ssl.SSLContext | None = None,
) -> Mapping[str, Any]:
    """Ask the service, and give the step's output; or raise the fault or the verdict that its answer means."""
    ready(connector)
    body = canonical(_envelope(connector, given))
    secret, signing = _secret(connector.secret_ref), _secret(connector.signing_ref)
    headers = {**_headers(given), **connector.headers}
    headers |= _credential(connector, secret) | _signature(connector, signing, body, given.effect_key)
    clocks = Timeouts(connector.connect_seconds, connector.read_seconds, _total_seconds(connector))
    outgoing = Outgoing(connector.method, connector.url, headers, body, clocks)
    answer = outbound.send(outgoing, hosts=settings.CONNECTOR_HOSTS, resolve=resolve, trust=trust)
    return _output(connector, answer, secrets=[*(each for each in (secret, signing) if each), *given.secrets])


def query(
    connector: Connector,
    given: ActionCall,
    *,
    resolve: Resolver = outbound.system_resolver,
    trust: ssl.SSLContext | None = None,
) -> Mapping[str, Any] | None:
    """Ask what came of an earlier request under this effect key: the step's output, or None if it came to nothing.

    A status that means "no" is the service's verdict on it, as in an answer to the call itself.
    """
    if not connector.is_enabled:
        raise ConnectorDisabled(f"The connector {connector.name} is disabled. Enable it, or wait until somebody does.")
    secret = _secret(connector.secret_ref)
    headers = {**_headers(given), **connector.headers, **_credential(connector, secret)}
    del headers["Content-Type"]
    clocks = Timeouts(connector.connect_seconds, connector.read_seconds, _total_seconds(connector))
    url = connector.query_url.replace(QUERY_KEY, given.effect_key)
    outgoing = Outgoing("GET", url, headers, b"", clocks)
    answer = outbound.send(outgoing, hosts=settings.CONNECTOR_HOSTS, resolve=resolve, trust=trust)
    if answer.status == NOTHING_CAME_OF_IT:
        return None
    return _output(connector, answer, secrets=[secret] if secret else [])


def _envelope(connector: Connector, given: ActionCall) -> dict[str, Any]:
    mapped = {} if given.input is None else {"input": dict(given.input)}
    return {
        "call": connector.name,
        "step": given.step,
        "arguments": dict(given.arguments),
        "payload": dict(given.payload),
        "data": dict(given.data),
        **mapped,
    }


def _headers(given: ActionCall) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": "HMS-ACT",
        "Idempotency-Key": given.effect_key,
        "HMS-Act-Run": str(given.run_id),
        "HMS-Act-Attempt": str(given.attempt),
    }


def _total_seconds(connector: Connector) -> int:
    """The worker ends any action after CALL_TIMEOUT_SECONDS, which may have become less since it was written."""
    return min(connector.total_seconds, settings.CALL_TIMEOUT_SECONDS)


# Secrets --------------------------------------------------------------------------------------------------


def _secret(reference: str) -> str:
    if not reference:
        return ""
    try:
        return secret_refs.read(reference, settings.CONNECTOR_SECRETS)
    except secret_refs.NotListed as refusal:
        raise NotAllowed(str(refusal))
    except secret_refs.SecretUnavailable as fault:
        raise SecretUnavailable(str(fault))


def _credential(connector: Connector, secret: str) -> dict[str, str]:
    if not secret:
        return {}
    is_bearer = connector.secret_header.lower() == BEARER_HEADER.lower()
    return {connector.secret_header: f"Bearer {secret}" if is_bearer else secret}


def _signature(connector: Connector, secret: str, body: bytes, effect_key: str) -> dict[str, str]:
    """The headers of Standard Webhooks. The id is the effect key, so a repetition is known for one."""
    if not secret:
        return {}
    at = clock.now()
    try:
        signed = Webhook(secret).sign(effect_key, at, body.decode())
    except (ValueError, EmptyWebhookSecretError):
        raise SecretUnavailable(
            f"What is at {connector.signing_ref} is no signing secret: whsec_ and base64."
        ) from None
    return {"webhook-id": effect_key, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signed}


# The answer -----------------------------------------------------------------------------------------------


def _output(connector: Connector, answer: Answer, *, secrets: Collection[str]) -> Mapping[str, Any]:
    status = answer.status
    if 200 <= status < 300:
        return _object(connector, answer.body, secrets)
    said = f"{connector.shown_name} answered {status}{_said(answer, secrets)}"
    if status in connector.verdict_statuses:
        raise Verdict(said)
    if status in ASKS_AGAIN:
        raise ServiceBusy(f"{said}{_wish(answer)}")
    if 300 <= status < 400:
        raise ServiceRefused(f"{said}: a redirect, which is never followed. Give the connector the new address.")
    if 400 <= status < 500:
        raise ServiceRefused(said)
    raise ServiceFault(f"{said}{_wish(answer)}")


def _object(connector: Connector, body: bytes, secrets: Collection[str]) -> Mapping[str, Any]:
    if not body.strip():
        return {}
    try:
        value = parse_json(body)
    except Refused as fault:
        why = secret_refs.masked(fault.detail, secrets)
        raise AnswerUnusable(f"{connector.shown_name} did as asked, but its answer cannot be kept. {why}")
    if not isinstance(value, dict):
        raise AnswerUnusable(f"{connector.shown_name} did as asked, but its answer is not a JSON object.")
    return dict(secret_refs.masked(value, secrets))


def _said(answer: Answer, secrets: Collection[str]) -> str:
    # Blotted out before it is cut, or half a secret would stay.
    text = secret_refs.masked(answer.body.decode("utf-8", "replace"), secrets)
    return f": {shown}" if (shown := _plain(text, SAID_CHARACTERS)) else ""


def _wish(answer: Answer) -> str:
    after = _plain(answer.headers.get("retry-after", ""), 40)
    return f" (it asks to be left alone until, or for: {after})" if after else ""


def _plain(text: str, characters: int) -> str:
    shown = "".join(sign if sign.isprintable() else " " for sign in text[: characters * 4])
    return " ".join(shown.split())[:characters]
