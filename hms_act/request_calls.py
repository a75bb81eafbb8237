# SPDX-License-Identifier: Apache-2.0
"""What a client says about requests to people, and about the receipts of their approvals.

Kept true here: a request that was read, and is handed in as it was read, is changed as it was read or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hms_act.answers import Json, Request, Task
from hms_act.calls import Calls, given, id_of, path_of, told
from hms_act.receipts import Receipt
from hms_act.retry import NEVER
from hms_act.secrets import Vault


class RequestCalls(Calls):
    """Part of `Client`."""

    def requests(self, **filters: Any) -> Iterator[Request]:
        """Filters are those of the API: status (one, or a list of several), priority, agent_id …"""
        return self._list("/hitl/requests", filters, self._with_handles)

    def request(self, request_id: str, *, wait: int = 0) -> Request:
        """With `wait`, the server answers once the request is decided, or after so many seconds (at most 60)."""
        answer = self._get(path_of("hitl", "requests", request_id), given(wait=wait or None), patience=wait)
        return answer.parsed(lambda said: self._with_handles(said, etag=answer.etag))

    def create_request(
        self,
        *,
        title: str = "",
        request_type: str | None = None,
        description: str | None = None,
        required_fields: Json | None = None,
        form: Json | None = None,
        options: Sequence[Json] = (),
        priority: str | None = None,
        severity: str | None = None,
        context: Json | None = None,
        role: str | None = None,
        template: str | None = None,
        agent_id: str | None = None,
        workflow_id: str | None = None,
        proposal: Json | None = None,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> Request:
        """Ask people for something. What is left out, the template says: the one named, or that of the type.

        The answer is asked for by `required_fields` (name → description) or by a `form`, which is JSON Schema;
        `options` are outcomes to choose from: `{"key", "label", "ends"}`, `ends` being "fail" on one that rejects.
        `agent_id` is who asks, where that is not the caller itself; `more` is sent as it is. Asked again while it is
        open, the same question is the same request (`duplicate` is true then), also after a restart. `proposal` is what
        an approval permits: `{"playbook", "version"?, "payload"}`, or `{"call", "input", "executor"?}`.
        """
        chosen = given(
            request_type=request_type,
            description=description,
            required_fields=required_fields,
            form=form,
            options=list(options) or None,
            priority=priority,
            severity=severity,
            context=context,
            role=role,
            template=template,
            agent_id=agent_id,
            workflow_id=workflow_id,
        )
        body = {**told(title=title), **chosen, **(proposal or {}), **more}
        answer = self._change("POST", "/hitl/requests", body, key=idempotency_key)
        return answer.parsed(lambda said: Request.from_answer(said, etag=answer.etag))

    def cancel_request(self, request: str | Request, *, reason: str = "") -> Request:
        """Take a question back. Raises AlreadyDecided, Conflict where it is closed or a run's own."""
        path = path_of("hitl", "requests", request if isinstance(request, str) else request.id, "cancel")
        return self._change("POST", path, told(reason=reason)).parsed(Request.from_answer)

    def statistics(self, **filters: Any) -> dict[str, Any]:
        """What became of the requests: totals, times, shares. Filters are those of the API: `period`."""
        return self._get("/hitl/statistics", filters).parsed(dict)

    def fulfill(
        self,
        request: str | Request,
        *,
        response_data: Json | None = None,
        notes: str = "",
        outcome: str | None = None,
        fulfilled_by: str = "",
        revision: int | None = None,
        if_match: str = "",
    ) -> Request:
        """Approve, answer, provide. Raises AlreadyDecided; StaleRevision if it is no longer the `revision` named.

        Given the `Request` that was read, not just its id, it is decided as it was read, or not at all: by its ETag,
        or, out of a list, by its revision. `outcome` is for a request that offers other options than approval.
        Who decides is who this client speaks as; `fulfilled_by` is kept as what it is, a claim.
        """
        request_id, bond, if_match = _as_read(request, revision, if_match)
        body = {"response_data": response_data or {}, "notes": notes, **given(outcome=outcome), **bond}
        body |= told(fulfilled_by=fulfilled_by)
        path = path_of("hitl", "requests", request_id, "fulfill")
        return self._change("POST", path, body, if_match=if_match).parsed(Request.from_answer)

    def reject(
        self,
        request: str | Request,
        *,
        reason: str,
        rejected_by: str = "",
        revision: int | None = None,
        if_match: str = "",
    ) -> Request:
        """Raises AlreadyDecided; StaleRevision if it is no longer what was read, or the `revision` named."""
        request_id, bond, if_match = _as_read(request, revision, if_match)
        body = {"reason": reason, **told(rejected_by=rejected_by), **bond}
        path = path_of("hitl", "requests", request_id, "reject")
        return self._change("POST", path, body, if_match=if_match).parsed(Request.from_answer)

    def unwrap(self, request: str | Request, *, task: Task | None = None) -> dict[str, Any]:
        """The secrets of an answer, by field: once, for who asked. Raises SecretGone from the second time on.

        For a secret that a step of a run asked for, `task` is the claimed task that was handed its handle
        (`{"secret_of": request, "field": name}`). The call is never sent twice: an answer lost on its way is lost.
        """
        held = {"task": task.id, "token": task.token} if task is not None else {}
        answer = self._change("POST", path_of("hitl", "requests", id_of(request), "unwrap"), held, retry=NEVER)
        return answer.parsed(lambda said: dict(said["values"]))

    def _with_handles(self, said: Json, *, etag: str = "") -> Request:
        """The request; what is secret in its answer are handles, which fetch when they are revealed."""
        found = Request.from_answer(said, etag=etag)
        if not found.secret_fields:
            return found
        vault = Vault(lambda: self.unwrap(found.id))
        return replace(found, response_data=vault.handles(found.response_data, found.secret_fields))

    # --- receipts of approvals

    def receipt(self, request: str | Request) -> Receipt:
        """What an approval permits, signed. Raises NotFound where nothing was approved."""
        return self._get(path_of("hitl", "requests", id_of(request), "receipt")).parsed(Receipt.from_answer)

    def receipt_keys(self) -> dict[str, str]:
        """The public keys that prove receipts, by id, for `Receipt.verify`; without those that are trusted no more."""
        said = self._get("/hitl/receipt-keys").parsed(dict)
        return {key["id"]: key["public_key"] for key in said["keys"] if key["distrusted_at"] is None}

    def spend(
        self,
        request: str | Request,
        *,
        call: str = "",
        input: Json | None = None,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Use an approval for what you are about to do, and do it only if this returns.

        Raises ReceiptRefused, by whose `code` you know why: action_mismatch, receipt_spent, receipt_expired,
        receipt_held, receipt_revoked, receipt_untrusted.
        """
        path = path_of("hitl", "requests", id_of(request), "spend")
        body = {**told(call=call), **given(input=input)}
        return self._change("POST", path, body, key=idempotency_key).parsed(Receipt.from_answer)

    def revoke_receipt(self, request: str | Request, *, reason: str) -> Receipt:
        """Take back an approval that nobody has used. Raises Conflict if somebody has."""
        path = path_of("hitl", "requests", id_of(request), "revoke")
        return self._change("POST", path, {"reason": reason}).parsed(Receipt.from_answer)

    def undo(self, request: str | Request, *, reason: str = "") -> Request:
        """Undo an approval that is held: the request that asks the same again. Raises Conflict (`too_late_to_undo`)."""
        path = path_of("hitl", "requests", id_of(request), "undo")
        return self._change("POST", path, told(reason=reason)).parsed(Request.from_answer)


def _as_read(request: str | Request, revision: int | None, if_match: str) -> tuple[str, dict[str, Any], str]:
    """(id, the revision to decide on as the body says it, the ETag to decide under)."""
    if isinstance(request, str):
        return request, given(revision=revision), if_match
    if_match = if_match or request.etag
    known = revision if revision is not None or if_match else request.revision
    return request.id, given(revision=known), if_match
