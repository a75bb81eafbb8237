# SPDX-License-Identifier: Apache-2.0
from django.urls import path, re_path

from playbooks import api, rule_api

_ID = r"(?P<slug>[A-Za-z0-9][A-Za-z0-9_.-]{0,99})"
_VERSION = rf"^acts/playbooks/{_ID}/versions/(?P<number>[0-9]{{1,9}})"
_RULE_SET = r"^acts/rulesets/(?P<rule_set>[A-Za-z0-9_-]{1,60})"
_RULES = rf"{_RULE_SET}/versions/(?P<number>[0-9]{{1,9}})"

urlpatterns = [
    path("acts/playbooks", api.Playbooks.as_view()),
    path("acts/playbooks/schema", api.Schema.as_view()),
    path("acts/playbooks/validate", api.Validate.as_view()),
    re_path(rf"^acts/playbooks/{_ID}\Z", api.OnePlaybook.as_view()),
    re_path(rf"^acts/playbooks/{_ID}/versions\Z", api.Versions.as_view()),
    re_path(rf"{_VERSION}\Z", api.OneVersion.as_view()),
    re_path(rf"{_VERSION}/publish\Z", api.Publish.as_view()),
    re_path(rf"{_VERSION}/retire\Z", api.Retire.as_view()),
    path("acts/rulesets", rule_api.RuleSets.as_view()),
    re_path(rf"{_RULE_SET}\Z", rule_api.OneRuleSet.as_view()),
    re_path(rf"{_RULE_SET}/versions\Z", rule_api.RulesVersions.as_view()),
    re_path(rf"{_RULES}\Z", rule_api.OneRules.as_view()),
    re_path(rf"{_RULES}/publish\Z", rule_api.PublishRules.as_view()),
    re_path(rf"{_RULES}/retire\Z", rule_api.RetireRules.as_view()),
]
