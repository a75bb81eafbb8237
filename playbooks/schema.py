# SPDX-License-Identifier: Apache-2.0
"""The document format: one pydantic model per kind of step, and the JSON Schema they publish.

The models accept what authors write, shorthand included; `playbooks/build.py` makes a Definition of them. A model
judges each field by itself; what several fields must agree on stands in `playbooks/checks.py`. Descriptions and
examples serve twice: in the published schema, and as the remedy in an error.
An optional field that is null counts as left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema

from playbooks import durations, expressions, json_schema
from playbooks.calls import ACTION, MAX_WORDS, service_call, worded_call
from playbooks.definition import Call, StepKind
from playbooks.expressions import MAX_CHARACTERS
from playbooks.places import Flaw, Flawed, shown

DIALECT = json_schema.DIALECT
MAX_MAPPINGS = 100
MAX_ROLE_NAME = 81
MAX_RETRIES = 1000

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


# --- Values ---------------------------------------------------------------------------------------


def _condition(text: str) -> str:
    try:
        expressions.check(text)
    except expressions.BadExpression as bad:
        raise Flawed(Flaw((), bad.message, bad.remedy))
    return text


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _condition(text)
    if moment.tzinfo is None:
        raise Flawed(Flaw((), f"{shown(text)} has no time zone.", "Write for example `2026-06-01T09:00:00-04:00`."))
    return text


def _mappings(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) > MAX_MAPPINGS:
        raise Flawed(Flaw((), f"There are more than {MAX_MAPPINGS} names.", "Map whole objects instead."))
    flaws: list[Flaw] = []
    for name, entry in value.items():
        if isinstance(entry, Mapping | list):
            remedy = "A CEL expression can make one: `{'form': payload.form_id}`."
            flaws.append(Flaw((name,), "A mapping or list stands where an expression is expected.", remedy))
        elif isinstance(entry, str):
            flaws += _mapping_flaws(name, entry)
    if flaws:
        raise Flawed(*flaws)
    return value


def _mapping_flaws(name: str, text: str) -> list[Flaw]:
    try:
        _condition(text)
    except Flawed as error:
        return [Flaw((name, *flaw.at), flaw.message, flaw.remedy) for flaw in error.flaws]
    return []


def _schema_subset(value: Any) -> Any:
    if found := json_schema.flaws(value):
        raise Flawed(*found)
    return value


def _seconds(value: Any) -> Any:
    return durations.seconds(value) if isinstance(value, str) else value


def _whole_seconds(value: Any) -> Any:
    found = _seconds(value)
    if isinstance(value, str) and not float(found).is_integer():
        raise Flawed(Flaw((), f"{shown(value)} is not a whole number of seconds.", durations.REMEDY))
    return int(found) if isinstance(value, str) else found


def _unique_keys(items: list[Any]) -> list[Any]:
    seen: set[str] = set()
    flaws = []
    for position, item in enumerate(items):
        key = item if isinstance(item, str) else item.key
        if key in seen:
            flaws.append(Flaw((position,), f"The key {shown(key)} is used twice.", "Give each its own key."))
        if key is not None:
            seen.add(key)
    if flaws:
        raise Flawed(*flaws)
    return items


def _once_each(names: list[str]) -> list[str]:
    flaws = [
        Flaw((position,), f"{shown(name)} is named twice.", "Name each rule set once.")
        for position, name in enumerate(names)
        if name in names[:position]
    ]
    if flaws:
        raise Flawed(*flaws)
    return names


def _outcomes_as_engine(options: list[Any]) -> list[Any]:
    """PASS goes on and FAIL ends the run failed, whatever an option says: nobody shall read one and get the other."""
    flaws = []
    for position, option in enumerate(options):
        ends = None if isinstance(option, str) else option.ends
        if not isinstance(option, str) and (option.key, ends) in {("PASS", "fail"), ("FAIL", "")}:
            message = f"The outcome {option.key} cannot mean the opposite."
            flaws.append(Flaw((position, "ends"), message, "Leave `ends` out, or use a key of your own."))
    if flaws:
        raise Flawed(*flaws)
    return options


def _duration_schema(number: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": number, "minimum": 0}, {"type": "string", "examples": ["15m", "PT15M"]}]})


def _call_schema(action: dict[str, Any]) -> WithJsonSchema:
    as_object = {
        "type": "object",
        "properties": {"action": action, "arguments": {"type": ["object", "null"]}},
        "required": ["action"],
        "additionalProperties": False,
    }
    return WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, as_object]})


SLUG = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
ROLE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}$"

Slug = Annotated[str, Field(pattern=SLUG)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Title = Annotated[str, Field(max_length=200)]
Prose = Annotated[str, Field(max_length=20_000)]
Condition = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS), AfterValidator(_condition)]
Moment = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS), AfterValidator(_moment)]
Mappings = Annotated[dict[str, Any], AfterValidator(_mappings)]
SchemaSubset = Annotated[
    dict[str, Any], AfterValidator(_schema_subset), Field(examples=[{"type": "object", "properties": {}}])
]
WholeSeconds = Annotated[
    int, BeforeValidator(_whole_seconds), Field(ge=1, le=durations.MAX_SECONDS), _duration_schema("integer")
]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=durations.MAX_SECONDS), _duration_schema("number")]
ServiceCall = Annotated[Call, PlainValidator(service_call), _call_schema({"type": "string", "pattern": ACTION})]
WordedCall = Annotated[
    Call, PlainValidator(worded_call), _call_schema({"type": "string", "minLength": 1, "maxLength": MAX_WORDS})
]
RuleSetName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}(@[1-9][0-9]{0,8})?$", examples=["privacy", "privacy@3"])
]
Level = Literal["low", "medium", "high", "critical"]


class Part(BaseModel):
    """A mapping of the document. Unknown keys are errors, and values keep the type they were written with."""

    # Built when the first document is read, which many processes never do.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


# --- Retries, clocks, options ---------------------------------------------------------------------


class RetryRulePart(Part):
    """What to do about one type of error. The first rule whose `error_type` equals the fault's decides."""

    error_type: Annotated[str, Field(min_length=1, max_length=200, description="The exact error type.")]
    action: Annotated[Literal["RETRY", "FAIL", "DEFAULT"], Field(description="DEFAULT leaves it to the policy.")]
    delay: Annotated[Seconds | None, Field(description="How long to wait before the retry.")] = None
    reason: Annotated[str | None, Field(max_length=500, description="Written to the log.")] = None


class RetryPolicyPart(Part):
    """How often, and how soon, a fault is tried again."""

    maximum_attempts: Annotated[
        int | None,
        Field(ge=0, le=MAX_RETRIES + 1, description="The first attempt counts: 1 = no retry. 0 = no limit."),
    ] = None
    initial_interval: Annotated[Seconds | None, Field(description="The wait before the first retry.")] = None
    backoff_coefficient: Annotated[
        float | None, Field(ge=1, le=100, description="Each wait is this many times the one before.")
    ] = None
    maximum_interval: Annotated[
        Seconds | None, Field(description="No wait is longer. Default: 100 times `initial_interval`.")
    ] = None
    jitter: Annotated[
        Literal["none", "full"] | None, Field(description="`full` waits a random part of the interval.")
    ] = None
    non_retryable_error_types: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]] | None,
        Field(max_length=100, description="Error types that fail at once."),
    ] = None
    retry_rules: Annotated[list[RetryRulePart] | None, Field(max_length=100, description="First match decides.")] = None


def _retries_noun(value: Any) -> str:
    return "retry policy" if isinstance(value, Mapping) else "number of retries"


Retries = Annotated[
    Annotated[RetryPolicyPart, Tag("retry policy")]
    | Annotated[int, Field(ge=0, le=MAX_RETRIES), Tag("number of retries")],
    Discriminator(_retries_noun),
    Field(
        description="How often a fault is tried again: a number (3 = four attempts), or a policy.",
        examples=[3],
    ),
]


class TimeoutsPart(Part):
    """The four clocks of a task, in seconds or as durations."""

    schedule_to_start: Annotated[WholeSeconds | None, Field(description="Until someone claims it.")] = None
    start_to_close: Annotated[WholeSeconds | None, Field(description="For one attempt.")] = None
    schedule_to_close: Annotated[WholeSeconds | None, Field(description="For all attempts together.")] = None
    heartbeat: Annotated[WholeSeconds | None, Field(description="Between two signs of life.")] = None


class OptionPart(Part):
    """An outcome that a performer may choose."""

    key: Annotated[Key, Field(description="The outcome.", examples=["approve-with-conditions"])]
    label: Annotated[Title | None, Field(description="What people read on the button.")] = None
    ends: Annotated[Literal["", "fail"] | None, Field(description="`fail`: choosing it ends the run failed.")] = None


def _option_noun(value: Any) -> str:
    return "option with a label" if isinstance(value, Mapping) else "option key"


Option = Annotated[
    Annotated[OptionPart, Tag("option with a label")] | Annotated[Key, Tag("option key")], Discriminator(_option_noun)
]

Options = Annotated[
    list[Option], Field(max_length=20), AfterValidator(_unique_keys), AfterValidator(_outcomes_as_engine)
]


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
        Annotated[list[RuleSetName], AfterValidator(_once_each)] | None,
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
        Annotated[list[BranchPart], AfterValidator(_unique_keys)] | None,
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
        AfterValidator(_unique_keys),
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
