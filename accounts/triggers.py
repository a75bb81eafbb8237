# SPDX-License-Identifier: Apache-2.0
"""An API key stays, as evidence of who could act: whose it is and how long it lives never change, nor that it ended."""

from accounts.models import ApiKey
from audit.guards import frozen, no_delete

REVOKED = 'OLD."revoked_at" IS NOT NULL'

TRIGGERS = [
    *no_delete(ApiKey),
    frozen(ApiKey, "id", "digest", "token_key", "user", "created", "created_by", "expiry", rule="identity"),
    frozen(ApiKey, "revoked_at", when=REVOKED, rule="revoked"),
]
