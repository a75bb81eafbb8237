# SPDX-License-Identifier: Apache-2.0
"""A fault in a document is answered with its place, its line and what to do about it."""

import json

import pytest

from playbooks import source
from playbooks.definition import MAX_NESTING
from playbooks.parse import DocumentInvalid, DocumentUnparseable, parse, parse_data


def problems_of(text):
    with pytest.raises(DocumentInvalid) as refused:
        parse(text, default_id="p")
    return refused.value.errors


def the_problem(text):
    (problem,) = problems_of(text)
    return problem


INVALID = {
    "an unknown field": (
        "steps:\n- id: x\n  role: agent:a\n  retires: 3\n",
        ("steps[0].retires", 4, '"retires" is not a field of an agent step.', "Did you mean `retries`?"),
    ),
    "another engine's word for a field": (
        "steps:\n- id: x\n  role: agent:a\n  timeout: 3\n",
        ("steps[0].timeout", 4, '"timeout" is not a field of an agent step.', "Did you mean `timeouts`?"),
    ),
    "a field of another kind of step": (
        "steps:\n- id: x\n  type: script\n  form: {type: object}\n",
        ("steps[0].form", 4, '"form" is not a field of a service step.', "Leave it out."),
    ),
    "an unknown field inside a part": (
        "steps:\n- id: x\n  type: script\n  timeouts:\n    hartbeat: 3\n",
        ("steps[0].timeouts.hartbeat", 5, '"hartbeat" is not a field of the timeouts.', "Did you mean `heartbeat`?"),
    ),
    "an unknown field of the playbook": (
        "steps: []\ntitel: x\n",
        ("titel", 2, '"titel" is not a field of a playbook.', "Did you mean `title`?"),
    ),
    "no steps": ("title: x\n", ("steps", 1, "`steps` is missing.", "List the steps")),
    "steps twice": ("steps: []\ntasks: []\n", ("tasks", 2, "Both `steps` and `tasks` are given.", "keep one")),
    "a step that is no mapping": ("steps:\n- AI-Screen\n", ("steps[0]", 2, "A step is a mapping", "Write for example")),
    "steps that are no list": (
        "steps:\n  AI-Screen: {}\n",
        ("steps", 1, '`steps` is {"AI-Screen": {}}, not a list.', "Write a list."),
    ),
    "no kind": (
        "steps:\n- id: x\n",
        ("steps[0]", 2, "Nothing says what kind of step this is.", "`type`"),
    ),
    "an unknown kind": (
        "steps:\n- id: x\n  type: hittl\n",
        ("steps[0].type", 3, '"hittl" is not a type of step.', "Did you mean `hitl`?"),
    ),
    "a kind that is no text": (
        "steps:\n- id: x\n  type: [agent]\n",
        ("steps[0].type", 3, '["agent"] is not a type of step.', ""),
    ),
    "a role without its kind": (
        "steps:\n- id: x\n  role: validator\n",
        ("steps[0].role", 3, '"validator" is not a role.', "`agent:`, `human:` or `svc:`"),
    ),
    "a role of another kind": (
        "steps:\n- id: x\n  type: agent\n  role: human:liaison\n",
        ("steps[0].role", 4, '"human:liaison" is not a role for an agent step.', '"agent:validator"'),
    ),
    "a role with a space": (
        "steps:\n- id: x\n  role: 'human:police liaison'\n",
        ("steps[0].role", 3, '"human:police liaison" is not a role for a human step.', "Letters"),
    ),
    "no id": ("steps:\n- type: agent\n", ("steps[0].id", 2, "`id` is missing.", "unique")),
    "id and name": (
        "steps:\n- {id: x, name: y, type: agent}\n",
        ("steps[0].name", 2, "Both `id` and `name` are given.", "`title`"),
    ),
    "an id twice": (
        "steps:\n- {id: x, type: agent}\n- type: parallel\n  tasks:\n  - {name: x, type: hitl}\n",
        ("steps[1].tasks[0].name", 5, 'The step id "x" is used twice: steps[0] has it too.', "own id"),
    ),
    "an id with a space": (
        "steps:\n- {id: AI Screen, type: agent}\n",
        ("steps[0].id", 2, '"AI Screen" is not a valid `id`.', 'Write for example "AI-Screen".'),
    ),
    "an id too long for the role that is missing": (
        f"steps:\n- {{id: {'x' * 82}, type: agent}}\n",
        ("steps[0].role", 2, "`role` is missing, and the id is too long to name one.", "81"),
    ),
    "a number where text belongs": (
        "steps: []\ntitle: 1.5\n",
        ("title", 2, "`title` is 1.5, not text.", 'Put it in quotes: "1.5".'),
    ),
    "text where a number belongs": (
        "steps:\n- id: x\n  type: agent\n  max_minutes: ten\n",
        ("steps[0].max_minutes", 4, '`max_minutes` is "ten", not a whole number.', "Write a whole number."),
    ),
    "yes for true": (
        "steps: []\nweb_form:\n  public: yes\n",
        ("web_form.public", 3, '`public` is "yes", not true or false.', "Write true or false."),
    ),
    "a number out of bounds": (
        "steps:\n- id: x\n  type: agent\n  max_minutes: 0\n",
        ("steps[0].max_minutes", 4, "`max_minutes` is 0.", "It has to be at least 1."),
    ),
    "negative retries": (
        "steps:\n- id: x\n  type: agent\n  retries: -1\n",
        ("steps[0].retries", 4, "`retries` is -1.", "It has to be at least 0."),
    ),
    "a word that is not one of the words": (
        "steps:\n- id: x\n  type: agent\n  effect: kyed\n",
        ("steps[0].effect", 4, '"kyed" is not a valid `effect`.', "Did you mean `keyed`?"),
    ),
    "a fault within a retry policy": (
        "steps:\n- id: x\n  type: agent\n  retries:\n    retry_rules:\n    - {error_type: Busy, action: WAIT}\n",
        ("steps[0].retries.retry_rules[0].action", 6, '"WAIT" is not a valid `action`.', "`RETRY`, `FAIL`, `DEFAULT`"),
    ),
    "what is no duration": (
        "steps:\n- id: x\n  type: hitl\n  token_ttl: 15 minutes\n",
        ("steps[0].token_ttl", 4, '"15 minutes" is not a duration.', "`15m`"),
    ),
    "a fraction of a second on a clock": (
        "steps:\n- id: x\n  type: hitl\n  token_ttl: 1.5s\n",
        ("steps[0].token_ttl", 4, '"1.5s" is not a whole number of seconds.', "`15m`"),
    ),
    "months, which have no fixed length": (
        "steps:\n- id: x\n  type: hitl\n  token_ttl: P1M\n",
        ("steps[0].token_ttl", 4, '"P1M" is not a duration.', "`15m`"),
    ),
    "a call that names no action": (
        "steps:\n- id: x\n  type: script\n  call: please charge it\n",
        ("steps[0].call", 4, '"charge" is not an argument of a call.', "`service.action key=value`"),
    ),
    "an amount with three decimals": (
        "steps:\n- id: x\n  type: script\n  call: hms_ach.charge $40.123\n",
        ("steps[0].call", 4, '"$40.123" is not an argument of a call.', "`service.action $40`"),
    ),
    "an argument twice": (
        "steps:\n- id: x\n  type: script\n  call: hms_ach.charge $40 amount=50\n",
        ("steps[0].call", 4, "The call gives `amount` twice.", "Keep one"),
    ),
    "a call with another field": (
        "steps:\n- id: x\n  type: script\n  call:\n    action: a.b\n    argumnets: {}\n",
        ("steps[0].call.argumnets", 6, "`argumnets` is not a field of a call.", "Did you mean `arguments`?"),
    ),
    "a call of a service in words": (
        "steps:\n- id: x\n  type: script\n  call:\n    action: please charge\n",
        ("steps[0].call.action", 5, '"please charge" is not the name of an action.', "`service.action`"),
    ),
    "a call whose arguments are a list": (
        "steps:\n- id: x\n  type: script\n  call: {action: a.b, arguments: [1]}\n",
        ("steps[0].call.arguments", 4, "The `arguments` are not a mapping.", "a key and a value"),
    ),
    "a call that is empty": (
        "steps:\n- id: x\n  type: agent\n  call: ' '\n",
        ("steps[0].call", 4, '" " is empty, or a quote in it is not closed.', "`service.action`"),
    ),
    "two calls of an agent": (
        "steps:\n- {id: x, agent: A, action: f, call: g}\n",
        ("steps[0].call", 2, "Both `action` and `call` are given.", "keep one"),
    ),
    "a service without an action": (
        "steps:\n- id: x\n  service: ResponseService\n",
        ("steps[0].action", 2, "`action` is missing beside `service`.", "Name the action"),
    ),
    "an action without a service": (
        "steps:\n- id: x\n  type: script\n  action: fetch\n",
        ("steps[0].action", 4, "`action` goes with `service`.", "`call`"),
    ),
    "an action without an agent": (
        "steps:\n- id: x\n  role: agent:a\n  action: fetch\n",
        ("steps[0].action", 4, "`action` goes with `agent`.", "Write `call` instead."),
    ),
    "two calls": (
        "steps:\n- {id: x, service: S, action: f, call: g.h}\n",
        ("steps[0].call", 2, "`service` and `action` are the call already.", "Keep"),
    ),
    "two agents": (
        "steps:\n- {id: x, agent: A, role: 'agent:B'}\n",
        ("steps[0].role", 2, '`agent` and `role` name two roles, "A" and "agent:B".', "Keep one"),
    ),
    "a condition that does not parse": (
        "steps:\n- id: x\n  type: agent\n  when: payload.crowd >\n",
        ("steps[0].when", 4, 'The expression "payload.crowd >" does not parse at character 16', "CEL"),
    ),
    "a condition that is too long": (
        f"steps:\n- id: x\n  type: agent\n  when: {'a' * 501}\n",
        ("steps[0].when", 4, "`when` is ", "It may have at most 500 characters."),
    ),
    "an input that does not parse": (
        "steps:\n- id: x\n  type: agent\n  input:\n    form: payload.\n",
        ("steps[0].input.form", 5, 'The expression "payload." does not parse', "CEL"),
    ),
    "an input that is a mapping": (
        "steps:\n- id: x\n  type: agent\n  input:\n    form: {id: payload.id}\n",
        ("steps[0].input.form", 5, "A mapping or list stands where an expression is expected.", "CEL expression"),
    ),
    "an input that is too long": (
        f"steps:\n- id: x\n  type: agent\n  input: {{a: {'b' * 501}}}\n",
        ("steps[0].input.a", 4, "The expression is too long.", "500"),
    ),
    "an input of too many names": (
        f"steps:\n- id: x\n  type: agent\n  input: {json.dumps({f'n{n}': 1 for n in range(101)})}\n",
        ("steps[0].input", 4, "There are more than 100 names.", "whole objects"),
    ),
    "an option twice": (
        "steps:\n- id: x\n  type: hitl\n  options:\n  - approve\n  - key: approve\n",
        ("steps[0].options[1]", 6, 'The key "approve" is used twice.', "own key"),
    ),
    "an option that cannot be a word": (
        "steps:\n- id: x\n  type: hitl\n  options:\n  - Approve it\n",
        ("steps[0].options[0]", 5, '"Approve it" is not a valid `options[0]`.', "Letters"),
    ),
    "FAIL that shall not fail": (
        "steps:\n- id: x\n  type: hitl\n  options:\n  - key: FAIL\n    ends: ''\n",
        ("steps[0].options[0].ends", 6, "The outcome FAIL cannot mean the opposite.", "a key of your own"),
    ),
    "PASS that shall fail": (
        "steps:\n- id: x\n  type: hitl\n  options: [{key: PASS, ends: fail}]\n",
        ("steps[0].options[0].ends", 4, "The outcome PASS cannot mean the opposite.", "a key of your own"),
    ),
    "a regular expression in a form": (
        "steps:\n- id: x\n  type: hitl\n  form:\n    type: object\n    properties:\n      zip: {pattern: (a+)+$}\n",
        ("steps[0].form.properties.zip.pattern", 7, 'The keyword "pattern" is not allowed in a schema.', "`enum`"),
    ),
    "a reference in a payload schema": (
        "steps: []\npayload_schema:\n  type: object\n  properties:\n    a: {$ref: 'http://169.254.169.254/'}\n",
        ("payload_schema.properties.a.$ref", 5, 'The keyword "$ref" is not allowed in a schema.', "in place"),
    ),
    "a parallel step without branches": (
        "steps:\n- {id: x, type: parallel}\n",
        ("steps[0].branches", 2, "The parallel step has no branches.", "`tasks`"),
    ),
    "branches twice": (
        "steps:\n- {id: x, type: parallel, tasks: [{id: y, type: agent}], branches: [{steps: []}]}\n",
        ("steps[0].tasks", 2, "Both `branches` and `tasks` are given.", "Keep one"),
    ),
    "a join for more branches than there are": (
        "steps:\n- id: x\n  type: parallel\n  join: 2\n  tasks:\n  - {id: y, type: agent}\n",
        ("steps[0].join", 4, "`join` waits for 2 of 1 branches.", "fewer"),
    ),
    "a join of an unknown word": (
        "steps:\n- id: x\n  type: parallel\n  join: SOME\n  tasks:\n  - {id: y, type: agent}\n",
        ("steps[0].join", 4, '"SOME" is not a valid `join`.', "`ALL`, `ANY`, `ALL_DONE`"),
    ),
    "a branch without steps": (
        "steps:\n- id: x\n  type: parallel\n  branches:\n  - key: a\n",
        ("steps[0].branches[0].steps", 5, "`steps` is missing.", "List the steps of the branch"),
    ),
    "a foreach without its list": (
        "steps:\n- id: x\n  type: foreach\n  steps: []\n",
        ("steps[0].items", 2, "`items` is missing.", 'Write for example "payload.regions".'),
    ),
    "a default case that hides another": (
        "steps:\n- id: x\n  type: switch\n  cases:\n  - {steps: []}\n  - {when: a, steps: []}\n",
        ("steps[0].cases[0]", 5, "A case without a condition hides the cases after it.", "last"),
    ),
    "a wait for nothing": ("steps:\n- {id: x, type: wait}\n", ("steps[0]", 2, "Nothing says what is waited for.", "")),
    "a wait for two things": (
        "steps:\n- {id: x, type: wait, duration: 1, signal: go}\n",
        ("steps[0].signal", 2, "The step waits for several things: `duration`, `signal`.", "Keep one"),
    ),
    "a moment without its zone": (
        "steps:\n- {id: x, type: wait, until: '2026-06-01T09:00:00'}\n",
        ("steps[0].until", 2, '"2026-06-01T09:00:00" has no time zone.', "-04:00"),
    ),
    "a time limit on a wait that has its end": (
        "steps:\n- {id: x, type: wait, duration: 1, timeout: 5}\n",
        ("steps[0].timeout", 2, "`timeout` goes with `signal`.", "Leave it out."),
    ),
    "failures tolerated where one pass is enough": (
        "steps:\n- id: x\n  type: parallel\n  join: ANY\n  tolerated_failure_count: 1\n"
        "  tasks: [{id: y, type: agent}]\n",
        ("steps[0].tolerated_failure_count", 5, "`tolerated_failure_count` goes with the join ALL.", "Leave it out."),
    ),
    "a case with two conditions": (
        "steps:\n- {id: h, type: hitl}\n- id: x\n  type: switch\n  on: h\n  cases:\n"
        "  - {case: PASS, when: a, steps: []}\n",
        ("steps[1].cases[0].case", 7, "Both `when` and `case` are given.", "Keep one"),
    ),
    "an outcome of nothing": (
        "steps:\n- id: x\n  type: switch\n  cases:\n  - {case: PASS, steps: []}\n",
        ("steps[0].cases[0].case", 5, "`case` is an outcome, and `on` does not say of which step.", "`on`"),
    ),
    "an outcome twice": (
        "steps:\n- {id: h, type: hitl}\n- id: x\n  type: switch\n  on: h\n  cases:\n"
        "  - {case: PASS, steps: []}\n  - {case: PASS, steps: []}\n",
        ("steps[1].cases[1].case", 8, 'An earlier case is "PASS" already.', "The first one runs"),
    ),
    "an outcome that the step does not have": (
        "steps:\n- {id: h, type: hitl, options: [defer]}\n- id: x\n  type: switch\n  on: h\n  cases:\n"
        "  - {case: deferr, steps: []}\n",
        ("steps[1].cases[0].case", 7, '"deferr" is not an outcome of the step "h".', "Did you mean `defer`?"),
    ),
    "a switch on a step that comes later": (
        "steps:\n- id: x\n  type: switch\n  on: h\n  cases:\n  - {case: PASS, steps: []}\n- {id: h, type: hitl}\n",
        ("steps[0].on", 4, 'No earlier step that ends with an outcome is called "h".', "before the switch"),
    ),
    "a switch on a step without an outcome": (
        "steps:\n- {id: w, type: wait, duration: 1}\n- id: x\n  type: switch\n  on: w\n  cases:\n"
        "  - {case: PASS, steps: []}\n",
        ("steps[1].on", 5, 'No earlier step that ends with an outcome is called "w".', "before the switch"),
    ),
    "a switch on a step, but no outcome": (
        "steps:\n- {id: h, type: hitl}\n- id: x\n  type: switch\n  on: h\n  cases:\n  - {when: a, steps: []}\n",
        ("steps[1].on", 5, "`on` goes with cases that name an outcome.", "leave `on` out"),
    ),
    "a branch to nowhere": (
        "steps:\n- id: x\n  type: agent\n  on_failure: BRANCH\n",
        ("steps[0].on_failure", 4, "BRANCH alone does not say where to.", "`{to: <a later step>}`"),
    ),
    "a branch that is empty": (
        "steps:\n- id: x\n  type: agent\n  on_failure: {then: CONTINUE}\n",
        ("steps[0].on_failure", 4, "Nothing says where the run branches to.", "`{to: …}`"),
    ),
    "a branch to two places": (
        "steps:\n- id: x\n  type: agent\n  on_reject: {to: y, steps: []}\n- {id: y, type: agent}\n",
        ("steps[0].on_reject.steps", 4, "The run would branch to several places: `to`, `steps`.", "Keep one"),
    ),
    "a branch to a later step that says what follows": (
        "steps:\n- id: x\n  type: agent\n  on_reject: {to: y, then: CONTINUE}\n- {id: y, type: agent}\n",
        ("steps[0].on_reject.then", 4, "`then` goes with `steps`.", "Leave it out"),
    ),
    "a branch backwards": (
        "steps:\n- {id: y, type: agent}\n- id: x\n  type: agent\n  on_reject: {to: y}\n",
        ("steps[1].on_reject.to", 5, 'No later step of the same list is called "y".', "after this one"),
    ),
    "a branch to another list": (
        "steps:\n- id: x\n  type: agent\n  on_failure: {to: z}\n"
        "- {type: foreach, items: a, steps: [{id: z, type: agent}]}\n",
        ("steps[0].on_failure.to", 4, 'No later step of the same list is called "z".', "in the same list"),
    ),
    "a branch from one task of a group to another": (
        "steps:\n- type: parallel\n  tasks:\n  - {id: x, type: agent, on_failure: {to: z}}\n  - {id: z, type: agent}\n",
        ("steps[0].tasks[0].on_failure.to", 4, 'No later step of the same list is called "z".', "in the same list"),
    ),
    "a fault in the steps of a branch": (
        "steps:\n- id: x\n  type: agent\n  on_failure:\n    steps:\n    - {id: y, type: agent, max_minutes: 0}\n",
        ("steps[0].on_failure.steps[0].max_minutes", 6, "`max_minutes` is 0.", "It has to be at least 1."),
    ),
    "an id twice, the second in the steps of a branch": (
        "steps:\n- id: x\n  type: agent\n  on_failure:\n    steps:\n    - {id: x, type: agent}\n",
        ("steps[0].on_failure.steps[0].id", 6, 'The step id "x" is used twice: steps[0] has it too.', "own id"),
    ),
    "ids too long to stand in each other": (
        f"steps:\n- id: {'x' * 100}\n  type: foreach\n  items: a\n  steps:\n  - id: {'y' * 97}\n    type: foreach\n"
        "    items: a\n    steps:\n    - {id: four, type: agent}\n",
        (
            "steps[0].steps[0].steps[0]",
            10,
            "The ids of this step and of those around it have 201 characters together.",
            "At most 200",
        ),
    ),
    "a list for a playbook": ("- id: x\n", ("", 1, "A playbook is a mapping of fields, not", "Begin with")),
    "words for a playbook": ("please approve\n", ("", 1, "A playbook is a mapping of fields, not", "Begin with")),
}


def nested(levels):
    step = {"id": "in", "type": "agent"}
    for level in range(levels - 1):
        step = {"id": f"s{level}", "type": "foreach", "items": "payload.x", "steps": [step]}
    return {"id": "p", "steps": [step]}


def test_steps_stand_in_steps_eight_levels_deep_and_no_deeper():
    assert parse_data(nested(MAX_NESTING)).definition.step("in")

    for levels in (MAX_NESTING + 1, MAX_NESTING + 5):
        with pytest.raises(DocumentInvalid) as refused:
            parse_data(nested(levels))
        (problem,) = refused.value.errors
        assert problem.path == "steps[0]" + ".steps[0]" * MAX_NESTING
        assert problem.message == "Steps stand in steps more than 8 levels deep."
        assert "`playbook`" in problem.remedy


@pytest.mark.parametrize("case", INVALID.values(), ids=INVALID)
def test_a_fault_is_named_with_place_line_reason_and_remedy(case):
    text, (path, line, message, remedy) = case
    problem = the_problem(text)

    assert (problem.path, problem.line) == (path, line)
    assert problem.message.startswith(message)
    assert remedy in problem.remedy


@pytest.mark.parametrize("case", INVALID.values(), ids=INVALID)
def test_the_same_fault_in_data_has_the_same_place_but_no_line(case):
    text, (path, _, message, _) = case
    with pytest.raises(DocumentInvalid) as refused:
        parse_data(source.read(text).data, default_id="p")

    (problem,) = refused.value.errors
    assert (problem.path, problem.line) == (path, None)
    assert problem.message.startswith(message)


def test_json_has_lines_too_tabs_and_windows_line_ends_included():
    lines = [
        "{",
        '\t"id": "p",',
        '\t"steps": [',
        '\t\t{"id": "x",',
        '\t\t "type": "agent",',
        '\t\t "tokn_ttl": 5}',
        "\t]}",
    ]
    text = "\r\n".join(lines)
    problem = the_problem(text)

    assert (problem.path, problem.line) == ("steps[0].tokn_ttl", 6)
    assert problem.remedy == "Did you mean `token_ttl`?"


def test_brackets_and_escapes_in_json_text_do_not_shift_lines():
    text = json.dumps({"id": "p", "title": 'a "quoted\\" ] } [ {, \n text', "steps": [], "x": 1}, indent=1)

    assert the_problem(text).line == 1 + text[: text.index('"x"')].count("\n")


def test_every_fault_of_a_document_is_named_at_once_in_its_order():
    text = """
id: p
steps:
- id: a
  type: agent
  retires: 3
  call: 7
- id: a
  type: hittl
- type: parallel
  branches:
  - steps:
    - {type: agent, max_minutes: -1}
titel: x
"""
    assert [(problem.path, problem.line) for problem in problems_of(text)] == [
        ("steps[0].retires", 6),
        ("steps[0].call", 7),
        ("steps[1].id", 8),
        ("steps[1].type", 9),
        ("steps[2].branches[0].steps[0].id", 13),
        ("steps[2].branches[0].steps[0].max_minutes", 13),
        ("titel", 14),
    ]


def test_a_document_of_nothing_but_faults_is_answered_with_the_first_fifty():
    problems = problems_of(json.dumps({"steps": [{"type": "agnt"}] * 400}))

    assert len(problems) == 51
    assert problems[-1].message == "There are 750 more problems."


def test_the_refusal_itself_says_where_and_what():
    with pytest.raises(DocumentInvalid) as refused:
        parse("id: p\nsteps:\n- id: x\n  role: agent:a\n  retires: 3\ntitel: y\n")

    assert (refused.value.code, refused.value.status) == ("invalid_document", 422)
    assert refused.value.detail == (
        'The document is not a playbook. At steps[0].retires, line 5: "retires" is not a field of an agent step.'
        " And 1 more."
    )


UNPARSEABLE = {
    "a comma too few in JSON": ('{"id": "p",\n "steps": []\n "title": "x"}', "", 3, "This is not JSON"),
    "JSON that stops": ('{"id": "p",\n "steps": [', "", 2, "This is not JSON"),
    "a colon too many in YAML": ("id: p\ntitle: March: on\n", "", 2, "This is not YAML"),
    "a tab in YAML": ("id: p\nsteps:\n\t- id: x\n", "", 3, "This is not YAML"),
    "an open quote in YAML": ("id: p\ntitle: 'x\n", "", 3, "This is not YAML"),
    "nothing": ("", "", None, "The document is empty."),
    "only a comment": ("# later\n", "", None, "The document is empty."),
    "a key twice in JSON": ('{"id": "a",\n "title": "x",\n "id": "b"}', "id", 3, 'The key "id" stands here twice'),
    "a key twice in YAML": ("id: a\nweb_form:\n  title: x\n  title: y\n", "web_form.title", 4, 'The key "title"'),
    "an alias": ("id: p\ntitle: *x\n", "", 2, "The YAML alias `*x` is not allowed."),
    "an anchor": ("id: p\ntitle: &x y\n", "", 2, "The YAML anchor `&x` is not allowed."),
    "an anchor of a list": ("id: p\nsteps: &all []\n", "", 2, "The YAML anchor `&all` is not allowed."),
    "a tag": (
        "id: p\ntitle: !!python/name:os.system\n",
        "",
        2,
        "The YAML tag `tag:yaml.org,2002:python/name:os.system`",
    ),
    "a plain tag": ("id: p\nsteps: !mine []\n", "", 2, "The YAML tag `!mine` is not allowed."),
    "two documents": ("id: p\n---\nid: q\n", "", 2, "The text holds a second document."),
    "a key that is a number": ("id: p\n404: x\n", "", 2, "The key 404 is not text."),
    "a key that is true": ("id: p\ntrue: x\n", "", 2, "The key true is not text."),
    "a key that is a list": ("id: p\n? [a]\n: x\n", "", 2, "A mapping or list stands where a key is expected."),
    "NaN in JSON": ('{"id": "p",\n "x": NaN}', "x", 2, "The number is infinite or not a number"),
    "minus infinity in JSON": ('{"id": "p",\n "x": [-Infinity]}', "x[0]", 2, "The number is infinite"),
    "infinity in YAML": ("id: p\nx: .inf\n", "x", 2, "The number is infinite"),
    "NaN in YAML": ("id: p\nx: NaN\n", "x", 2, "The number is infinite or not a number"),
    "a number beyond floats": ('{"id": "p",\n "x": 1e309}', "x", 2, "The number is infinite"),
    "2^53": ('{"id": "p",\n "x": 9007199254740992}', "x", 2, "The number is beyond 9007199254740991"),
    "minus 2^53 in YAML": ("id: p\nx: -9007199254740992\n", "x", 2, "The number is beyond 9007199254740991"),
    "1e300, an integer that floats round": ('{"x": 1e300}', "x", 1, "The number is beyond 9007199254740991"),
    "five thousand digits": ('{"x": ' + "9" * 5000 + "}", "x", 1, "The number is infinite"),
    "a NUL": ("id: p\ntitle: a\0b\n", "", 2, "The text holds the character NUL."),
    "an escaped NUL in JSON": ('{"id": "p",\n "x": "a\\u0000"}', "x", 2, "The text holds the character NUL"),
    "an escaped NUL in YAML": ('id: p\nx: "\\0"\n', "x", 2, "The text holds the character NUL"),
    "a NUL in a key": ('{"id": "p",\n "a\\u0000": 1}', '["a\\u0000"]', 2, "The text holds the character NUL"),
    "half a surrogate pair": ('{"id": "p",\n "x": "\\ud83d"}', "x", 2, "The text holds half a surrogate pair"),
    "half a pair in a key": ('{"\\udc00": 1}', '["\\udc00"]', 1, "The text holds half a surrogate pair"),
    "half a pair as it stands": ("id: p\nx: \ud83d\n", "", 2, "The text is not valid UTF-8"),
    "another encoding": ("id: p\ntitle: März\n".encode("latin-1"), "", 2, "The text is not valid UTF-8"),
    "UTF-16": ("id: p\n".encode("utf-16"), "", 1, "The text is not valid UTF-8"),
    "a control character": ("id: p\ntitle: ä\x07\n", "", 2, "The text holds the control character U+0007."),
    "more than a mebibyte": ("x" * (1024 * 1024 + 1), "", None, "The document is larger than 1048576 bytes."),
    "JSON of 65 levels": ("[" * 65 + "]" * 65, "", 1, "The document is nested deeper than 64 levels."),
    "JSON of 500,000 levels": (
        "[" * 500_000 + "]" * 500_000,
        "",
        None,
        "The document is nested deeper than 64 levels.",
    ),
    "YAML of 65 levels": ("- " * 65 + "x\n", "", 1, "The document is nested deeper than 64 levels."),
    "10,001 keys": (json.dumps({str(n): 1 for n in range(10_001)}), "", 1, "The document has more than 10000 keys."),
    "100,001 values": (json.dumps([1] * 100_001), "", 1, "The document has more than 100000 values."),
}


@pytest.mark.parametrize("case", UNPARSEABLE.values(), ids=UNPARSEABLE)
def test_what_cannot_be_read_says_where_and_why(case):
    text, path, line, message = case
    with pytest.raises(DocumentUnparseable) as refused:
        parse(text)

    problem = refused.value.errors[0]
    assert (refused.value.code, refused.value.status) == ("unparseable_document", 400)
    assert (problem.path, problem.line) == (path, line)
    assert problem.message.startswith(message)
    assert problem.remedy


def test_what_is_just_within_the_bounds_is_read():
    keys = {f"k{n}": n for n in range(9_990)}
    step = {"id": "x", "type": "script", "call": {"action": "a", "arguments": keys}}

    assert parse_data({"id": "p", "steps": [step]}).definition.steps[0].call.arguments == keys
    assert parse('{"id": "p", "steps": [], "description": "' + "[" * 20_000 + '"}').definition.id == "p"


@pytest.mark.parametrize("number", [2**53 - 1, -(2**53) + 1, 0.1, 1e-300, 0, 1.5e9])
def test_numbers_that_every_reader_keeps_come_back_unchanged(number):
    step = {"id": "x", "type": "script", "call": {"action": "a", "arguments": {"n": number}}}
    text = json.dumps({"id": "p", "steps": [step]})

    assert json.loads(json.dumps(parse(text).document)) == json.loads(text)


@pytest.mark.parametrize("data", [{1: 2}, {"a": {1, 2}}, {"a": b"x"}, {"a": float("inf")}, {object(): 1}])
def test_data_that_is_not_json_is_refused(data):
    with pytest.raises(DocumentUnparseable):
        parse_data(data)


def test_data_that_contains_itself_is_refused():
    data = {"id": "p"}
    data["self"] = data

    with pytest.raises(DocumentUnparseable):
        parse_data(data)


def test_parsing_leaves_the_data_of_its_caller_alone():
    schema = {"type": "object", "properties": {"a": {}, "b": {}}}
    data = {"id": "p", "steps": [], "payload_schema": schema}
    parse_data(data)

    assert data == {"id": "p", "steps": [], "payload_schema": {"type": "object", "properties": {"a": {}, "b": {}}}}
