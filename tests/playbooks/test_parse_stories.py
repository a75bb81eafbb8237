# SPDX-License-Identifier: Apache-2.0
"""The three documents that the stories print load as they stand, and mean exactly this."""

from playbooks.definition import Call, Definition, Governance, Parallel, Step, StepKind
from playbooks.parse import parse, parse_data

PERMIT = {
    "id": "protest_permit",
    "steps": [
        {"id": "AI-Screen", "role": "agent:validator", "call": "ai_validator.check_form"},
        {"id": "Human-Approve", "role": "human:police_liaison"},
        {"id": "Collect-Fee", "role": "svc:finance", "call": "hms_ach.charge $40"},
    ],
}

LICENCE = """{
  "tasks": [
    {"id":"fetch_data",     "type":"script"},
    {"id":"ai_analysis",    "type":"agent"},
    {"id":"human_approval", "type":"hitl"},
    {"id":"deploy",         "type":"script"}
  ]
}"""

CENSUS = """{
  "id": "CensusDailyUpdate",
  "tasks": [
    { "name":"CollectResponses", "service":"ResponseService", "action":"fetchNew" },
    { "name":"AnalyzeData",      "agent":"CensusCoverageAdvisor", "action":"analyze_and_suggest" },
    { "name":"GovernanceReview", "layer":"GovernanceLayer",        "action":"enforce" },
    { "name":"UpdatePolicy",     "service":"PolicyService",       "action":"update" },
    { "name":"RefreshDashboard", "service":"DashboardService",    "action":"refresh" }
  ]
}"""


def test_the_permit_as_the_python_client_sends_it():
    parsed = parse_data(PERMIT)

    assert parsed.definition == Definition(
        id="protest_permit",
        steps=(
            Step("AI-Screen", StepKind.AGENT, role="agent:validator", call=Call("ai_validator.check_form")),
            Step("Human-Approve", StepKind.HUMAN, role="human:police_liaison"),
            Step(
                "Collect-Fee",
                StepKind.SERVICE,
                role="svc:finance",
                call=Call("hms_ach.charge", {"amount": "40.00", "currency": "USD"}),
            ),
        ),
    )
    assert parsed.document == PERMIT
    assert parsed.notes == ()


def test_the_export_licence_as_printed():
    parsed = parse(LICENCE, default_id="license_renewal")

    assert parsed.definition == Definition(
        id="license_renewal",
        steps=(
            Step("fetch_data", StepKind.SERVICE, role="svc:fetch_data", call=Call("fetch_data")),
            Step("ai_analysis", StepKind.AGENT, role="agent:ai_analysis"),
            Step("human_approval", StepKind.HUMAN, role="human:human_approval"),
            Step("deploy", StepKind.SERVICE, role="svc:deploy", call=Call("deploy")),
        ),
    )


def test_the_defaults_of_the_export_licence_are_said():
    assert parse(LICENCE, default_id="license_renewal").notes == (
        "The playbook's id is license_renewal, from the name it came with.",
        "fetch_data: the role is svc:fetch_data, after the id, because none was given.",
        "fetch_data: the call is fetch_data, after the id, because none was given.",
        "ai_analysis: the role is agent:ai_analysis, after the id, because none was given.",
        "human_approval: the role is human:human_approval, after the id, because none was given.",
        "deploy: the role is svc:deploy, after the id, because none was given.",
        "deploy: the call is deploy, after the id, because none was given.",
    )


def test_a_step_inserted_before_deploy_changes_no_other_step():
    line = '{"id":"audit_sync", "type":"script"},\n    {"id":"deploy"'
    before = parse(LICENCE, default_id="license_renewal").definition
    after = parse(LICENCE.replace('{"id":"deploy"', line), default_id="license_renewal").definition

    inserted = Step("audit_sync", StepKind.SERVICE, role="svc:audit_sync", call=Call("audit_sync"))
    assert after.steps == (*before.steps[:3], inserted, before.steps[3])


def test_the_census_workflow_as_printed():
    parsed = parse(CENSUS, default_id="census_workflow")

    assert parsed.definition == Definition(
        id="CensusDailyUpdate",
        steps=(
            Step(
                "CollectResponses",
                StepKind.SERVICE,
                role="svc:ResponseService",
                call=Call("ResponseService.fetchNew"),
            ),
            Step(
                "AnalyzeData",
                StepKind.AGENT,
                role="agent:CensusCoverageAdvisor",
                call=Call("analyze_and_suggest"),
            ),
            Step("GovernanceReview", StepKind.GOVERNANCE, shape=Governance()),
            Step("UpdatePolicy", StepKind.SERVICE, role="svc:PolicyService", call=Call("PolicyService.update")),
            Step(
                "RefreshDashboard",
                StepKind.SERVICE,
                role="svc:DashboardService",
                call=Call("DashboardService.refresh"),
            ),
        ),
    )
    assert parsed.notes == ()


def test_a_task_group_of_type_parallel_runs_each_task_as_a_branch():
    group = '{"type": "parallel", "tasks": [{"id": "a", "type": "agent"}, {"id": "b", "type": "hitl"}]}'
    (step,) = parse('{"id": "p", "tasks": [' + group + "]}").definition.steps

    assert (step.id, step.kind) == ("parallel-1", StepKind.PARALLEL)
    assert [(branch.key, [inner.id for inner in branch.steps]) for branch in step.branches] == [
        ("a", ["a"]),
        ("b", ["b"]),
    ]
    assert step.shape == Parallel(join="ALL", on_branch_failure="FAIL_FAST")


def test_retries_as_the_permit_story_advises_are_counted_after_the_first_attempt():
    step = {"id": "x", "role": "svc:finance", "call": "hms_ach.charge $40", "retries": 3, "token_ttl": 3600}
    (read,) = parse_data({"id": "p", "steps": [step]}).definition.steps

    assert read.retries.maximum_attempts == 4
    assert read.token_ttl_seconds == 3600


def test_max_minutes_as_the_licence_story_advises():
    (step,) = parse_data({"id": "p", "tasks": [{"id": "x", "type": "script", "max_minutes": 5}]}).definition.steps

    assert step.max_minutes == 5
