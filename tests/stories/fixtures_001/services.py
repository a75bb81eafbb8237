# SPDX-License-Identifier: Apache-2.0
"""The services of the export-licence story, on this machine: each is what it is in an office, in small.

- The central data repository knows the licences.
- The exporter's portal publishes a renewal once per `Idempotency-Key`, for who holds its token and signs.
- The audit office takes note that a renewal is about to go out.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.playbooks.loopback import Heard

Said = tuple[int, Any]

LICENCES = {
    123: {
        "applicant": "ACME Optics, Dayton",
        "goods": [{"what": "lens assemblies", "eccn": "EAR99"}],
        "destination": "CA",
        "end_user": "Maple Leaf Imaging",
    },
    124: {
        "applicant": "Volt Controls, Tulsa",
        "goods": [{"what": "frequency changers", "eccn": "3A225"}],
        "destination": "BR",
        "end_user": "Companhia Norte",
    },
    125: {
        "applicant": "Rapid Rotors, Reno",
        "goods": [{"what": "rotor bearings", "eccn": "2A001"}],
        "destination": "KP",
        "end_user": "unknown",
    },
}


class Repository:
    def __call__(self, heard: Heard) -> Said:
        licence = LICENCES.get(heard.json["payload"].get("license_id"))
        if licence is None:
            return 404, {"error": "there is no such licence"}
        return 200, licence


class Portal:
    """`loses` answers: so many publications take place while nobody hears of them."""

    def __init__(self, token: str, signing: str, *, loses: int = 0) -> None:
        self._token, self._signing, self._loses = token, Webhook(signing), loses
        self._lock = threading.Lock()
        self._published: dict[str, tuple[str, dict[str, Any]]] = {}  # key → digest of the request, publication

    @property
    def publications(self) -> list[dict[str, Any]]:
        return [publication for _, publication in self._published.values()]

    def __call__(self, heard: Heard) -> Said | None:
        if heard.headers.get("authorization") != f"Bearer {self._token}":
            return 401, {"error": "who are you?"}
        try:
            self._signing.verify(heard.body, dict(heard.headers))
        except WebhookVerificationError:
            return 401, {"error": "that was not signed by the bureau"}
        return self._publish(heard.headers["idempotency-key"], heard)

    def _publish(self, key: str, heard: Heard) -> Said | None:
        digest = hashlib.sha256(heard.body).hexdigest()
        with self._lock:
            known = self._published.get(key)
            if known is not None:
                return (
                    (200, known[1]) if known[0] == digest else (422, {"error": "this key stands for another request"})
                )
            publication = _publication(heard.json, number=len(self._published) + 1)
            self._published[key] = (digest, publication)
            if self._loses:
                self._loses -= 1
                return None
            return 201, publication


def _publication(request: dict[str, Any], *, number: int) -> dict[str, Any]:
    licence, data = request["payload"]["license_id"], request["data"]
    return {
        "publication": f"EX-{licence}-{number}",
        "license_id": licence,
        "applicant": data["fetch_data"]["applicant"],
        "risk": data["ai_analysis"]["risk"],
        "letter": data.get("draft_letter", {}).get("letter"),
    }


class AuditOffice:
    def __call__(self, heard: Heard) -> Said:
        seen = base64.b16encode(hashlib.sha256(heard.body).digest()[:4]).decode()
        return 200, {"noted": heard.json["payload"]["license_id"], "receipt": seen}
