# SPDX-License-Identifier: Apache-2.0
"""A published version, of a playbook or of a rule set, never changes and never goes; a draft may do both.

A rule set and a connector keep their names.
"""

from audit.guards import arrows, frozen, no_delete, no_replace, no_truncate, refuse, starts_in
from audit.triggers import Trigger
from playbooks.models import Connector, RuleSet, RuleSetVersion, Version
from playbooks.versioning import AnyVersion, VersionState

NOT_DRAFT = f"OLD.\"state\" <> '{VersionState.DRAFT}'"
RETIRED = f"OLD.\"state\" = '{VersionState.RETIRED}'"


def frozen_once_published(model: type[AnyVersion], says: str) -> list[Trigger]:
    """Of versions that say what they say in the field `says`."""
    return [
        arrows(model),
        starts_in(model, VersionState.DRAFT),
        frozen(model, "id", model.of, "number", "created_by", "created_at", rule="identity"),
        frozen(model, says, "digest", "published_by", "published_at", when=NOT_DRAFT, rule="published"),
        frozen(model, "retired_at", when=RETIRED, rule="retired"),
    ]


def drafts_may_go(model: type[AnyVersion]) -> list[Trigger]:
    return [
        refuse(model, "no_delete", "DELETE", NOT_DRAFT, "a published version is never deleted"),
        no_truncate(model),
        no_replace(model),
    ]


TRIGGERS = [
    *frozen_once_published(Version, "document"),
    *drafts_may_go(Version),
    frozen(RuleSet, "id", "slug", "created_at", rule="identity"),
    *no_delete(RuleSet),
    *frozen_once_published(RuleSetVersion, "rules"),
    *drafts_may_go(RuleSetVersion),
    frozen(Connector, "id", "name", "created_at", rule="identity"),
    *no_delete(Connector),
]
