# SPDX-License-Identifier: Apache-2.0
"""The document format: one pydantic model per kind of step, and the JSON Schema they publish.

The models accept what authors write, shorthand included; `playbooks/build.py` makes a Definition of them. A model
judges each field by itself; what several fields must agree on stands in `playbooks/checks.py`. Descriptions and
examples serve twice: in the published schema, and as the remedy in an error.
An optional field that is null counts as left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)
from pydantic.json_schema import GenerateJsonSchema

from playbooks import durations, json_schema
from playbooks.calls import MAX_WORDS
from playbooks.definition import StepKind
from playbooks.places import Flaw, Flawed
from playbooks.schema_parts import Options, Retries, TimeoutsPart
from playbooks.schema_values import (
    ROLE_NAME,
    SLUG,
    Condition,
    Key,
    Level,
    Mappings,
    Moment,
    Part,
    Prose,
    RuleSetName,
    SchemaSubset,
    ServiceCall,
    Slug,
    Title,
    WholeSeconds,
    WordedCall,
    once_each,
    unique_keys,
)

DIALECT = json_schema.DIALECT
MAX_ROLE_NAME = 81

KIND_WORDS: Mapping[str, StepKind] = {
    **{kind.value: kind for kind in StepKind},
    "hitl": StepKind.HUMAN,
    "script": StepKind.SERVICE,
}
ROLE_PREFIXES: Mapping[str, StepKind] = {
    "agent": StepKind.AGENT,
    "human": StepKind.HUMAN,
    "svc": StepKind.SERVICE,
}


def kind_of(step: Any) -> StepKind | None:
    """The kind a step says it is: by `type`, else by `service`, `agent` or `layer`, else by its role's prefix."""
    if not isinstance(step, Mapping):
        return None
    if step.get("type") is not None:
        return KIND_WORDS.get(step["type"]) if isinstance(step["type"], str) else None
    for key, kind in (("service", StepKind.SERVICE), ("agent", StepKind.AGENT), ("layer", StepKind.GOVERNANCE)):
        if step.get(key) is not None:
            return kind
    role = step.get("role")
    return ROLE_PREFIXES.get(role.partition(":")[0]) if isinstance(role, str) else None


def noun_of(step: Any) -> str | None:
    """`agent step` and so on: the name under which pydantic knows the model of a step."""
    kind = kind_of(step)
    return f"{kind.value} step" if kind else None


# --- Steps ----------------------------------------------------------------------------------------


class BlockPart(Part):
    """A list of steps, under either name."""

    steps: Annotated[list[AnyStep] | None, Field(description="The steps, in order.")] = None
    tasks: Annotated[list[AnyStep] | None, Field(description="Another word for `steps`.")] = None


class DetourPart(BlockPart):
    """Where the run branches to: a later step beside this one, or steps of its own."""

    to: Annotated[
        Slug | None, Field(description="A later step of the same list; those between are skipped.", examples=["Close"])
    ] = None
    then: Annotated[
        Literal["FAIL_RUN", "CONTINUE", "SKIP_DOWNSTREAM"] | None,
        Field(description="What follows the steps. Default: FAIL_RUN."),
    ] = None


def _no_bare_branch(value: Any) -> Any:
    if value == "BRANCH":
        remedy = "Write `{to: <a later step>}`, or `{steps: […], then: CONTINUE}`."
        raise Flawed(Flaw((), "BRANCH alone does not say where to.", remedy))
    return value


def _reaction_noun(value: Any) -> str:
    return "other steps" if isinstance(value, Mapping) else "reaction word"


Reaction = Annotated[
    Annotated[DetourPart, Tag("other steps")]
    | Annotated[
        Literal["FAIL_RUN", "CONTINUE", "SKIP_DOWNSTREAM"], BeforeValidator(_no_bare_branch), Tag("reaction word")
    ],
    Discriminator(_reaction_noun),
]


class StepPart(Part):
    """What every step may have."""

    id: Annotated[
        Slug | None,
        Field(description="Unique in the playbook; the log and the API name the step by it.", examples=["AI-Screen"]),
    ] = None
    name: Annotated[Slug | None, Field(description="Another word for `id`.", examples=["CollectResponses"])] = None
    title: Annotated[Title | None, Field(description="What people read instead of the id.")] = None
    description: Annotated[Prose | None, Field(description="What is to be done, for its reader.")] = None
    when: Annotated[
        Condition | None,
        Field(description="A CEL condition; where it is false the step is skipped.", examples=["payload.crowd > 500"]),
    ] = None
    input: Annotated[
        Mappings | None,
        Field(
            description="Names and the CEL expressions that give their values.", examples=[{"form": "payload.form_id"}]
        ),
    ] = None
    output: Annotated[
        Mappings | None,
        Field(description="What is kept of the result: names and CEL expressions.", examples=[{"risk": "output.risk"}]),
    ] = None
    output_schema: Annotated[
        SchemaSubset | None, Field(description="JSON Schema of the result. One that does not fit is refused.")
    ] = None
    retries: Retries | None = None
    timeouts: TimeoutsPart | None = None
    timeout_policy: Annotated[
        Literal["RETRY", "FAIL_RUN", "ALERT_ONLY"] | None,
        Field(
            description="What a clock that has run out does. Default: `start_to_close` and `heartbeat` retry, "
            "`schedule_to_start` and `schedule_to_close` fail the run."
        ),
    ] = None
    max_minutes: Annotated[
        int | None,
        Field(ge=1, le=durations.MAX_SECONDS // 60, description="Flags the run as stalled after so many minutes."),
    ] = None
    token_ttl: Annotated[
        WholeSeconds | None,
        Field(description="How long a claim holds without renewal: seconds, or a duration.", examples=["15m"]),
    ] = None
    on_failure: Annotated[
        Reaction | None,
        Field(description="What a failed step does to what is around it.", examples=["CONTINUE"]),
    ] = None
    on_reject: Annotated[
        Reaction | None,
        Field(description="The same for a rejection.", examples=[{"to": "Tell-Applicant"}]),
    ] = None
    on_exhausted: Annotated[
        Literal["FAIL", "INCIDENT"] | None, Field(description="What follows when every attempt has failed.")
    ] = None
    compensate: Annotated[
        ServiceCall | None, Field(description="The call that undoes this step.", examples=["hms_ach.refund"])
    ] = None
    effect: Annotated[
        Literal["keyed", "query_first", "once"] | None,
        Field(description="How the outside world is kept from seeing one effect twice."),
    ] = None


def _policy_noun(value: Any) -> str:
    return "policy name" if isinstance(value, str) else "policy"


Policy = Annotated[
    Annotated[str, Field(min_length=1, max_length=60), Tag("policy name")] | Annotated[dict[str, Any], Tag("policy")],
    Discriminator(_policy_noun),
]


class PerformedPart(StepPart):
    """What a step that one performer carries out may have besides."""

    options: Annotated[
        Options | None,
        Field(description="Outcomes beside PASS and FAIL.", examples=[["approve", "defer"]]),
    ] = None
    policy: Annotated[
        Policy | None,
        Field(description="Who may decide: a policy or its name.", examples=["fees", {"required_approvals": 2}]),
    ] = None
    severity: Annotated[Level | None, Field(description="The harm if it goes wrong.")] = None
    priority: Annotated[Level | None, Field(description="How urgent it is.")] = None


class AgentStep(PerformedPart):
    """A task for an agent, claimed over the API."""

    type: Literal["agent"] | None = None
    role: Annotated[
        str | None,
        Field(pattern=rf"^agent:{ROLE_NAME}", description="Who may claim it.", examples=["agent:validator"]),
    ] = None
    call: Annotated[
        WordedCall | None, Field(description="What the agent is asked to do.", examples=["ai_validator.check_form"])
    ] = None
    agent: Annotated[
        str | None,
        Field(pattern=f"^{ROLE_NAME}", description="Short for the role `agent:…`.", examples=["CensusCoverageAdvisor"]),
    ] = None
    action: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_WORDS, description="With `agent`: the call.", examples=["analyze"]),
    ] = None


class HumanStep(PerformedPart):
    """A question to a person, who approves, rejects, chooses or fills in."""

    type: Literal["human", "hitl"] | None = None
    role: Annotated[
        str | None,
        Field(pattern=rf"^human:{ROLE_NAME}", description="Who may decide.", examples=["human:police_liaison"]),
    ] = None
    call: Annotated[WordedCall | None, Field(description="What the person is asked to do.")] = None
    form: Annotated[SchemaSubset | None, Field(description="A JSON Schema of what the person fills in.")] = None


class ServiceStep(PerformedPart):
    """A registered action run by the worker; or, with a role and no call, a task for a client of that role."""

    type: Literal["service", "script"] | None = None
    role: Annotated[
        str | None,
        Field(pattern=rf"^svc:{ROLE_NAME}", description="In whose name it runs.", examples=["svc:finance"]),
    ] = None
    call: Annotated[ServiceCall | None, Field(description="The action.", examples=["hms_ach.charge $40"])] = None
    service: Annotated[
        str | None,
        Field(
            pattern=f"^{ROLE_NAME}", description="With `action`: role and call in one.", examples=["ResponseService"]
        ),
    ] = None
    action: Annotated[
        str | None,
        Field(pattern=SLUG, description="With `service`: the call `service.action`.", examples=["fetchNew"]),
    ] = None


class GovernanceStep(StepPart):
    """A check of the rules (ethics, privacy, safety, compliance) over the data."""

    # Its role is a person's and does not tell its kind: to other readers of the schema it is none without one of these.
    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["type"]}, {"required": ["layer"]}]})

    type: Literal["governance"] | None = None
    layer: Annotated[Literal["GovernanceLayer"] | None, Field(description="Another way to say the type.")] = None
    action: Annotated[Literal["enforce"] | None, Field(description="The one thing it does.")] = None
    rules: Annotated[
        Annotated[list[RuleSetName], AfterValidator(once_each)] | None,
        Field(
            min_length=1,
            max_length=50,
            description="The rule sets, the newest version of each or the one behind `@`. Default: the default layer.",
        ),
    ] = None
    role: Annotated[
        str | None,
        Field(
            pattern=rf"^human:{ROLE_NAME}",
            description="Who is asked where a rule wants a person.",
            examples=["human:privacy_officer"],
        ),
    ] = None


class BranchPart(BlockPart):
    """One branch of a parallel step."""

    key: Annotated[Slug | None, Field(description="The name of the branch.", examples=["fire-brigade"])] = None


class CasePart(BlockPart):
    """One case of a switch. The last may have no condition: it is the default."""

    key: Annotated[Slug | None, Field(description="The name of the case.", examples=["large-crowd"])] = None
    when: Annotated[
        Condition | None,
        Field(description="A CEL condition; the first case that holds runs.", examples=["payload.crowd > 500"]),
    ] = None
    case: Annotated[
        Key | None, Field(description="An outcome of the step that the switch is `on`.", examples=["defer"])
    ] = None


class FanPart(StepPart):
    """How a step with several blocks at a time starts them and counts their failures."""

    max_concurrency: Annotated[int | None, Field(ge=1, le=10_000, description="How many run at a time.")] = None
    tolerated_failure_count: Annotated[int | None, Field(ge=0, le=100_000, description="So many may fail.")] = None
    tolerated_failure_percentage: Annotated[
        float | None, Field(ge=0, le=100, description="So many in a hundred may fail.")
    ] = None


def _join_noun(value: Any) -> str:
    return "join word" if isinstance(value, str) else "number of branches"


Join = Annotated[
    Annotated[Literal["ALL", "ANY", "ALL_DONE"], Tag("join word")]
    | Annotated[int, Field(ge=1, le=1000), Tag("number of branches")],
    Discriminator(_join_noun),
]


class ParallelStep(FanPart):
    """Branches that run side by side."""

    type: Literal["parallel"]
    branches: Annotated[
        Annotated[list[BranchPart], AfterValidator(unique_keys)] | None,
        Field(min_length=1, max_length=1000, description="The branches."),
    ] = None
    tasks: Annotated[
        list[AnyStep] | None, Field(min_length=1, max_length=1000, description="Steps that are a branch each.")
    ] = None
    join: Annotated[
        Join | None, Field(description="ALL, ANY, ALL_DONE, or how many branches must pass.", examples=["ALL"])
    ] = None
    on_branch_failure: Annotated[
        Literal["FAIL_FAST", "WAIT_ALL"] | None, Field(description="Whether a failed branch stops the others.")
    ] = None


class ForeachStep(FanPart, BlockPart):
    """The same steps for each item of a list."""

    type: Literal["foreach"]
    items: Annotated[
        Condition, Field(description="A CEL expression that gives the list.", examples=["payload.regions"])
    ]


class SwitchStep(StepPart):
    """The first case whose condition holds."""

    type: Literal["switch"]
    on: Annotated[
        Slug | None,
        Field(description="The earlier step whose outcome each `case` names.", examples=["Human-Approve"]),
    ] = None
    cases: Annotated[
        list[CasePart],
        AfterValidator(unique_keys),
        Field(min_length=1, max_length=1000, description="The cases, in order."),
    ]


class WaitStep(StepPart):
    """Waits for a while, until a moment, or for a named signal."""

    type: Literal["wait"]
    duration: Annotated[WholeSeconds | None, Field(description="How long.", examples=["2d"])] = None
    until: Annotated[
        Moment | None,
        Field(
            description="A moment with its time zone, or a CEL expression that gives one.",
            examples=["2026-06-01T09:00:00Z"],
        ),
    ] = None
    signal: Annotated[Key | None, Field(description="The name of the signal.", examples=["payment-received"])] = None
    timeout: Annotated[
        WholeSeconds | None, Field(description="With `signal`: the step fails if none has come by then.")
    ] = None


class PlaybookStep(StepPart):
    """A run of another playbook."""

    type: Literal["playbook"]
    playbook: Annotated[Slug, Field(description="The id of the playbook.", examples=["export_license"])]
    version: Annotated[int | None, Field(ge=1, le=1_000_000, description="Default: the newest published.")] = None
    parent_close_policy: Annotated[
        Literal["TERMINATE", "ABANDON", "REQUEST_CANCEL"] | None,
        Field(description="What becomes of the child when this run ends."),
    ] = None


STEP_MODELS: Mapping[StepKind, type[StepPart]] = {
    StepKind.AGENT: AgentStep,
    StepKind.HUMAN: HumanStep,
    StepKind.SERVICE: ServiceStep,
    StepKind.GOVERNANCE: GovernanceStep,
    StepKind.PARALLEL: ParallelStep,
    StepKind.FOREACH: ForeachStep,
    StepKind.SWITCH: SwitchStep,
    StepKind.WAIT: WaitStep,
    StepKind.PLAYBOOK: PlaybookStep,
}

AnyStep = Annotated[
    Annotated[AgentStep, Tag("agent step")]
    | Annotated[HumanStep, Tag("human step")]
    | Annotated[ServiceStep, Tag("service step")]
    | Annotated[GovernanceStep, Tag("governance step")]
    | Annotated[ParallelStep, Tag("parallel step")]
    | Annotated[ForeachStep, Tag("foreach step")]
    | Annotated[SwitchStep, Tag("switch step")]
    | Annotated[WaitStep, Tag("wait step")]
    | Annotated[PlaybookStep, Tag("playbook step")],
    Discriminator(noun_of),
]


# --- The document ---------------------------------------------------------------------------------


class WebFormPart(Part):
    """The web form that starts a run, made from `payload_schema`."""

    public: Annotated[bool | None, Field(description="Open to people without a log-in, at /forms/<id>.")] = None
    title: Annotated[Title | None, Field(description="The heading of the form.")] = None
    intro: Annotated[Prose | None, Field(description="What stands above the fields.")] = None
    thanks: Annotated[Prose | None, Field(description="What people read after sending it.")] = None


class Document(BlockPart):
    """A playbook: steps that agents, people and services do in order."""

    schema_: Annotated[
        str | None, Field(alias="$schema", max_length=500, description="The address of this schema, for editors.")
    ] = None
    id: Annotated[Slug | None, Field(description="The name by which runs start it.", examples=["protest_permit"])] = (
        None
    )
    title: Annotated[Title | None, Field(description="What people read instead of the id.")] = None
    description: Annotated[Prose | None, Field(description="What it is for.")] = None
    payload_schema: Annotated[
        SchemaSubset | None, Field(description="A JSON Schema of what a run is started with.")
    ] = None
    run_timeout: Annotated[
        WholeSeconds | None, Field(description="The whole run ends failed after so long: seconds, or a duration.")
    ] = None
    web_form: WebFormPart | None = None


class _Published(GenerateJsonSchema):
    """Says of an optional field what it holds, not that it may be null: authors leave it out."""

    def nullable_schema(self, schema: Any) -> Any:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> Any:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def document_schema() -> dict[str, Any]:
    """The JSON Schema (Draft 2020-12) of documents, for editors and other tools."""
    schema = Document.model_json_schema(by_alias=True, schema_generator=_Published)
    return {"$schema": DIALECT, **schema, "title": "HMS-ACT playbook"}
