# SPDX-License-Identifier: Apache-2.0
"""What was told stays told, and who was who stays known."""

from approvals.models import (
    Broadcast,
    ChannelPost,
    ExternalNotice,
    ExternalSystem,
    ExternalUser,
    MailLink,
    Notification,
    Preference,
    SeenMessage,
    SlackAccount,
    SlackChannel,
    SlackCode,
    Summary,
)
from approvals.models.messages import ASKED
from audit.guards import append_only, frozen, no_delete
from config.mail import MailState

SENT = f"OLD.\"state\" = '{MailState.SENT}'"
ENDED = 'OLD."ended_at" IS NOT NULL'
SPENT = 'OLD."used_at" IS NOT NULL OR OLD."revoked_at" IS NOT NULL'
ONE_OPEN_LINK = '"system_id" = NEW."system_id" AND "outside_id" = NEW."outside_id" AND "ended_at" IS NULL'
ONE_OF_USER = '"user_id" = NEW."user_id" AND "ended_at" IS NULL'
ONE_OF_ROLE = '"role" = NEW."role" AND "ended_at" IS NULL'
SAME_POST = '"request_id" = NEW."request_id" AND "channel_id" = NEW."channel_id"'
ASKED_ONCE = f"{SAME_POST} AND \"purpose\" = '{ASKED}' AND NEW.\"purpose\" = '{ASKED}'"
ONE_OF_MEMBER = '"member" = NEW."member" AND "ended_at" IS NULL'

TRIGGERS = [
    *no_delete(Notification),
    frozen(Notification, "id", "request", "recipient", "purpose", "told_at", rule="identity"),
    frozen(Notification, "state", "sent_at", "channel", "reference", when=SENT, rule="sent"),
    *no_delete(Summary),
    frozen(Summary, "id", "recipient", "slot_at", rule="identity"),
    frozen(Summary, "state", "sent_at", when=SENT, rule="sent"),
    *no_delete(Broadcast),
    frozen(Broadcast, "id", "request", "purpose", "revision", "told_at", rule="identity"),
    *no_delete(Preference),
    *no_delete(MailLink),
    frozen(
        MailLink, "id", "request", "revision", "recipient", "purpose", "token_hash", "created_at", "expires_at",
        rule="identity",
    ),
    frozen(MailLink, "used_at", "revoked_at", when=SPENT, rule="spent"),
    *no_delete(SlackCode),
    frozen(SlackCode, "id", "recipient", "member", "nonce", "expires_at", rule="identity"),
    frozen(SlackCode, "used_at", when='OLD."used_at" IS NOT NULL', rule="used"),
    *no_delete(SlackAccount, unique=[ONE_OF_USER, ONE_OF_MEMBER]),
    frozen(SlackAccount, "id", "user", "member", "verified_at", rule="identity"),
    frozen(SlackAccount, "ended_at", when=ENDED, rule="ended"),
    *no_delete(ExternalSystem),
    frozen(ExternalSystem, "id", "name", "created_at", rule="identity"),
    *no_delete(ExternalUser, unique=[ONE_OPEN_LINK]),
    frozen(ExternalUser, "id", "system", "outside_id", "user", "linked_at", "linked_by", rule="identity"),
    frozen(ExternalUser, "ended_at", when=ENDED, rule="ended"),
    *no_delete(ExternalNotice),
    frozen(ExternalNotice, "id", "system", "request", "purpose", "told_at", rule="identity"),
    frozen(ExternalNotice, "state", "sent_at", when=SENT, rule="sent"),
    *no_delete(SlackChannel, unique=[ONE_OF_ROLE]),
    frozen(SlackChannel, "id", "role", "channel", "set_at", "set_by", rule="identity"),
    frozen(SlackChannel, "ended_at", when=ENDED, rule="ended"),
    *no_delete(ChannelPost, unique=[ASKED_ONCE]),
    frozen(ChannelPost, "id", "request", "channel", "purpose", "told_at", rule="identity"),
    frozen(ChannelPost, "state", "sent_at", "reference", when=SENT, rule="sent"),
    *append_only(SeenMessage),
]  # fmt: skip
