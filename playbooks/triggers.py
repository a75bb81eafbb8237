# SPDX-License-Identifier: Apache-2.0
"""A published version, of a playbook or of a rule set, never changes and never goes; a draft may do both.

A rule set and a connector keep their names.
"""

from audit.guards import arrows, frozen, no_delete, no_replace, no_truncate, refuse, starts_in
from playbooks.models import Connector, RuleSet, RuleSetVersion, Version, VersionState

NOT_DRAFT = f"OLD.\"state\" <> '{VersionState.DRAFT}'"

TRIGGERS = [
    arrows(Version),
    starts_in(Version, VersionState.DRAFT),
    frozen(Version, "id", "playbook", "number", "created_by", "created_at", rule="identity"),
    frozen(Version, "document", "digest", "published_by", "published_at", when=NOT_DRAFT, rule="published"),
    frozen(Version, "retired_at", when=f"OLD.\"state\" = '{VersionState.RETIRED}'", rule="retired"),
    refuse(Version, "no_delete", "DELETE", NOT_DRAFT, "a published version is never deleted"),
    no_truncate(Version),
    no_replace(Version),
    frozen(RuleSet, "id", "slug", "created_at", rule="identity"),
    *no_delete(RuleSet),
    arrows(RuleSetVersion),
    starts_in(RuleSetVersion, VersionState.DRAFT),
    frozen(RuleSetVersion, "id", "rule_set", "number", "created_by", "created_at", rule="identity"),
    frozen(RuleSetVersion, "rules", "digest", "published_by", "published_at", when=NOT_DRAFT, rule="published"),
    frozen(RuleSetVersion, "retired_at", when=f"OLD.\"state\" = '{VersionState.RETIRED}'", rule="retired"),
    refuse(RuleSetVersion, "no_delete", "DELETE", NOT_DRAFT, "a published version is never deleted"),
    no_truncate(RuleSetVersion),
    no_replace(RuleSetVersion),
    frozen(Connector, "id", "name", "created_at", rule="identity"),
    *no_delete(Connector),
]
