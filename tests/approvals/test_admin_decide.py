# SPDX-License-Identifier: Apache-2.0
"""The decision page: what it shows, who may decide on it, and that nothing but a good POST changes anything."""

import pytest
from django.contrib.messages import get_messages
from django.contrib.staticfiles import finders
from django.test import Client

from approvals import asking, binding, claiming, services
from approvals.models import ActionRequest, Vote
from audit.canonical import digest
from audit.models import Entry
from playbooks import catalogue
from runs import services as runs
from runs import stopping
from runs.models import Run, Task
from tests.approvals.pages import INBOX, evidence_of, opened, page_of, read, sent
from tests.factories import PERMIT, claimed, reloaded, started, steps, tasks_of, waiting_for_a_person
from tests.people import BACKEND, person

pytestmark = pytest.mark.django_db

QUERIES = 17
"""Session, user, request, roles, person, members, run, tasks, who was told (2), log, badge, draft, comments,
attachments: however much happened."""

FEE = steps(
    {"id": "AI-Screen", "role": "agent:validator", "call": "ai_validator.check_form"},
    {
        "id": "Human-Approve",
        "role": "human:police_liaison",
        "title": "Approve the crowd-control plan",
        "description": "Approving charges the applicant.",
    },
    {"id": "Collect-Fee", "role": "svc:finance", "call": "city_fees.charge $40"},
    {"id": "Issue-Permit", "role": "svc:permits"},
    id="permit",
)
catalogue.action("city_fees.charge")(lambda call: {})
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \u202etxt.exe\u202c\u200b \x07 {{ 7|add:7 }}"


def human_step(**fields):
    """The permit's playbook, its human step changed."""
    changed = [{**step, **fields} if step["id"] == "Human-Approve" else step for step in PERMIT["steps"]]
    return {**PERMIT, "steps": changed}


def asked(validator, title="Buy a domain", role="human:police_liaison", **given):
    return asking.create_request(actor=validator, title=title, role=role, **given)


def everything():
    """All that a decision could move."""
    return (
        list(ActionRequest.objects.order_by("pk").values_list("pk", "state", "revision", "outcome", "claimed_by")),
        list(Run.objects.order_by("pk").values_list("pk", "state", "revision")),
        list(Task.objects.order_by("pk").values_list("pk", "state", "outcome")),
        Vote.objects.count(),
        Entry.objects.count(),
    )


@pytest.fixture
def request_(validator):
    return waiting_for_a_person(validator)


@pytest.fixture
def browser(liaison, client_for):
    return client_for(liaison)


# What is shown ---------------------------------------------------------------------------------------------


def test_the_page_says_what_is_asked_and_what_each_answer_will_do(validator, browser):
    page = opened(browser, waiting_for_a_person(validator, FEE))

    assert "Approve the crowd-control plan" in page.words
    assert "Approving charges the applicant." in page.words
    assert "Approve → Collect-Fee runs next (city_fees.charge, amount 40.00 USD)." in page.words
    assert "The run ends failed. Collect-Fee and Issue-Permit are not done." in page.words
    assert "Approve → Collect-Fee: city_fees.charge amount 40.00 currency USD" in page.words


def test_the_last_step_says_that_the_run_ends(validator, browser):
    page = opened(browser, waiting_for_a_person(validator, {**PERMIT, "steps": PERMIT["steps"][:2]}))

    assert "This is the last step: the run ends completed." in page.words


def test_the_payload_is_shown_whole_with_everything_the_decision_binds_and_its_digest(validator, browser):
    plan = {"stewards": 40, "routes": ["riverside", "bridge"], "closed": None}
    request = waiting_for_a_person(validator, payload={"purpose": "word " * 500 + "END", "plan": plan})

    page = opened(browser, request)

    assert "word END" in page.words
    assert '"routes": [ "riverside", "bridge" ]' in page.words
    assert '"closed": null' in page.words
    assert request.asked["version_sha256"] in page.words
    assert request.digest[:16] in page.words
    assert page.hidden["digest"] == request.digest


def test_what_an_agent_supplied_is_shown_as_its_word(validator, request_, browser):
    page = opened(browser, request_)

    assert "Supplied by the agent validator, not checked. risk low" in page.words
    assert "Human-Approve" in page.words
    assert "you are here" in page.words
    assert "Collect-Fee still to come" in page.words


def test_the_log_of_the_run_is_shown_and_refused_attempts_with_it(request_, liaison, auditor, browser, client_for):
    client_for(auditor).post(page_of(request_), {"outcome": "PASS", "revision": 1, "digest": request_.digest})

    page = opened(browser, request_)

    assert "Task completed · AI-Screen · running → completed by validator (agent)" in page.words
    assert "Request decide denied · Human-Approve · refused (role_required) by auditor (human)" in page.words


def test_the_page_says_why_its_reader_may_decide_and_who_else(request_, liaison, browser):
    person("deputy", "human:police_liaison", first_name="Dan", last_name="Kim")

    page = opened(browser, request_)

    assert "1 member of human:police_liaison decides." in page.words
    assert "You are one of them." in page.words
    assert "Members: Dan Kim, liaison." in page.words


def test_who_has_claimed_it_is_named_and_does_not_stand_in_the_way(request_, validator, liaison, browser):
    deputy = person("deputy", "human:police_liaison")
    claiming.claim_requests(role="human:police_liaison", actor=deputy, limit=1)

    page = opened(browser, request_)
    answer = sent(browser, request_, "PASS")

    assert "deputy is reviewing this until" in page.words
    assert answer.status_code == 303


def test_a_claim_of_ones_own_is_given_back_on_the_page(request_, liaison, browser):
    claiming.claim_requests(role="human:police_liaison", actor=liaison, limit=1)
    assert opened(browser, request_).all("button", name="release")

    answer = browser.post(page_of(request_), {"release": "1"}, follow=True)

    assert reloaded(request_).state == "pending"
    assert "Released" in read(answer).words


def test_giving_back_what_one_has_not_claimed_is_refused(request_, browser):
    answer = browser.post(page_of(request_), {"release": "1"})

    assert answer.status_code == 409
    assert "You have not claimed this request." in read(answer).words


def test_a_question_from_outside_any_run_has_its_own_page(validator, browser):
    request = asked(validator, context={"domain": "example.org"}, description="We need it for the site.")

    page = opened(browser, request)

    assert "Asked outside any run" in page.words
    assert "validator gets your answer and goes on." in page.words
    assert "domain example.org" in page.words
    assert sent(browser, request, "PASS").status_code == 303


def test_secrets_of_an_answer_are_not_shown_again(validator, browser):
    request = asked(validator, request_type="api_key", required_fields={"key": "The key of the mail provider"})

    sent(browser, request, "PASS", **{"answer-key": "sk-very-secret"})

    assert reloaded(request).response_data == {"key": "••••••••"}
    for address in (page_of(request), evidence_of(request)):
        assert "sk-very-secret" not in browser.get(address).content.decode()


# Hostile words ---------------------------------------------------------------------------------------------


def test_what_others_wrote_is_text_and_hides_nothing(validator, browser):
    asked(validator, title="Innocent")
    words = HOSTILE + "x" * 100
    request = asked(validator, title=words[:200], description=words, context={words[:60]: {"deep": [words]}})

    for response in (browser.get(page_of(request)), browser.get(INBOX), browser.get(evidence_of(request))):
        page, source = read(response), response.content.decode()
        assert "<script>alert(1)" in page.text, "shown as text"
        assert "<U+202E>txt.exe<U+202C><U+200B>" in page.text
        assert "{{ 7|add:7 }}" in page.text
        assert not {"\u202e", "\u202c", "\u200b", "\x07"} & set(source)
        assert not page.all("img", src="x")


def test_the_page_needs_no_script_and_no_other_host(request_, browser):
    response = browser.get(page_of(request_))
    page = read(response)

    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert not page.all("style")
    assert all("src" in script for script in page.all("script"))
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for address in (attributes.get("href"), attributes.get("src"), attributes.get("action")):
            assert address is None or address.startswith(("/", "#")), address
            if address and address.startswith("/static/"):
                assert finders.find(address.removeprefix("/static/")), address


# Who may look, who may decide ------------------------------------------------------------------------------


def test_looking_changes_nothing(request_, browser):
    before = everything()

    assert browser.get(page_of(request_), {"outcome": "PASS", "release": "1"}).status_code == 200
    assert browser.head(page_of(request_)).status_code == 200
    assert browser.put(page_of(request_)).status_code == 405
    assert browser.delete(page_of(request_)).status_code == 405

    assert everything() == before


def test_a_decision_needs_the_token_of_a_page_of_ours(request_, liaison):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(liaison, backend=BACKEND)
    before = everything()

    answer = sent(browser, request_, "PASS")

    assert answer.status_code == 403
    assert everything() == before


def test_a_stranger_is_led_to_the_log_in(request_):
    for answer in (Client().get(page_of(request_)), Client().post(page_of(request_), {"outcome": "PASS"})):
        assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/admin/login/")


def test_a_request_of_another_role_is_not_there(validator, browser):
    foreign = asked(validator, role="human:treasurer")

    assert browser.get(page_of(foreign)).status_code == 404
    assert browser.post(page_of(foreign), {"outcome": "PASS"}).status_code == 404


@pytest.mark.parametrize("id_", ["har_000000000000", "har_xyz", "1", "%00", "har_00000000000%00", "%F0%9F%92%A5"])
def test_an_id_of_no_request_is_not_there(id_, browser):
    answer = browser.get(f"{INBOX}{id_}/decide/", follow=True)

    # What is no id at all, the admin takes for one of its own and leads home.
    assert answer.status_code == 404 or answer.redirect_chain[-1][0] == "/admin/"
    assert "decision" not in answer.content.decode()


@pytest.mark.parametrize("reader", ["auditor", "superuser"])
def test_who_sees_all_but_is_in_no_role_cannot_decide_and_reads_why(reader, request, request_, client_for):
    client = client_for(request.getfixturevalue(reader))
    before = everything()

    page = opened(client, request_)
    answer = client.post(
        page_of(request_), {"outcome": "PASS", "revision": "1", "digest": request_.digest, "reason": "because"}
    )

    assert page.outcomes == []
    assert "Only members of human:police_liaison may decide this." in page.words
    assert len(page.all("button", **{"disabled": "", "aria-describedby": "why-not"})) == 2
    assert answer.status_code == 403
    assert "Only members of human:police_liaison may decide this." in read(answer).words
    assert everything()[:4] == before[:4]
    assert Entry.objects.latest("id").code == "role_required"


def test_who_started_the_run_cannot_decide_and_reads_why(validator, client_for):
    request = waiting_for_a_person(validator)
    starter = request.requester
    starter.groups.add(*person("colleague", "human:police_liaison").groups.all())
    client = client_for(starter)

    page = opened(client, request)
    answer = client.post(page_of(request), {"outcome": "PASS", "revision": "1", "digest": request.digest})

    assert page.outcomes == []
    assert "You started this run, so somebody else must decide this." in page.words
    assert answer.status_code == 403
    assert reloaded(request).state == "pending"
    assert Entry.objects.latest("id").code == "forbidden"


def test_a_role_lost_while_reading_is_lost(request_, liaison, browser):
    shown = opened(browser, request_).hidden
    liaison.groups.clear()

    answer = browser.post(
        page_of(request_), {"outcome": "PASS", "revision": shown["revision"], "digest": shown["digest"]}
    )

    assert answer.status_code == 404, "what a person in no role may not even see"
    assert reloaded(request_).state == "pending"


# Deciding --------------------------------------------------------------------------------------------------


def test_approving_moves_the_run_on_and_leads_back_to_the_inbox(request_, liaison, browser):
    answer = sent(browser, request_, "PASS", reason="The plan is sound.")

    assert (answer.status_code, answer["Location"]) == (303, INBOX)
    assert (reloaded(request_).state, reloaded(request_).notes) == ("fulfilled", "The plan is sound.")
    assert [(task.step, task.state) for task in tasks_of(request_.run)][1:] == [
        ("Human-Approve", "completed"),
        ("Collect-Fee", "pending"),
    ]
    assert (Vote.objects.get().voter, Vote.objects.get().channel) == (liaison, "admin")


def test_the_inbox_then_names_the_decision_its_run_and_what_is_next(request_, validator, browser):
    following = asked(validator, title="Buy a domain")

    answer = sent(browser, request_, "PASS")
    (said,) = [str(message) for message in get_messages(answer.wsgi_request)]

    assert said.startswith("Approved: Human Approve: protest_permit.")
    assert f"/runs/run/{request_.run_id}/change/" in said
    assert f'href="{page_of(following)}">Next: Buy a domain</a>' in said


def test_rejecting_with_a_reason_ends_the_run(request_, browser):
    answer = sent(browser, request_, "FAIL", reason="The bridge is closed.")

    assert answer.status_code == 303
    assert reloaded(request_).rejection_reason == "The bridge is closed."
    assert Run.objects.get().state == "failed"


def test_rejecting_without_a_reason_is_refused_at_the_field(request_, browser):
    before = everything()

    answer = sent(browser, request_, "FAIL", reason="  ")
    page = read(answer)

    assert answer.status_code == 422
    assert "Nothing was recorded Say why you reject." in page.words
    assert page.all("a", href="#id_reason")
    assert page.all("textarea", id="id_reason", **{"aria-invalid": "true"})
    assert page.all("input", type="radio", value="FAIL", checked="")
    assert everything() == before


def test_without_a_choice_nothing_is_recorded_and_the_text_is_kept(request_, browser):
    answer = sent(browser, request_, "", reason="I have thought about it.")
    page = read(answer)

    assert answer.status_code == 422
    assert "Outcome: Choose one." in page.words
    assert "I have thought about it." in page.text
    assert page.all("div", role="alert", tabindex="-1", autofocus="")


def test_a_page_sent_without_what_was_shown_is_refused(request_, browser):
    answer = browser.post(page_of(request_), {"outcome": "PASS", "digest": "é" * 64})

    assert answer.status_code == 422
    assert "The page was sent incomplete." in read(answer).words


def test_what_changed_since_it_was_read_is_shown_anew_and_the_text_is_kept(request_, browser):
    shown = opened(browser, request_).hidden
    changed = reloaded(request_)
    changed.revision, changed.title = 2, "Approve twice the crowd"
    changed.digest = digest(binding.what_is_asked(changed))
    ActionRequest.objects.filter(pk=changed.pk).update(revision=2, title=changed.title, digest=changed.digest)

    answer = browser.post(
        page_of(request_),
        {"outcome": "PASS", "reason": "Fine.", "revision": shown["revision"], "digest": shown["digest"]},
    )
    page = read(answer)

    assert answer.status_code == 409
    assert "You were shown revision 1; it is now 2." in page.words
    assert "Approve twice the crowd" in page.words
    assert "Fine." in page.text
    assert not page.all("input", type="radio", checked=""), "what was chosen was about something else"
    assert page.hidden["digest"] == changed.digest
    assert Vote.objects.count() == 0


def test_what_is_stored_otherwise_than_it_was_asked_cannot_be_approved(request_, browser):
    ActionRequest.objects.filter(pk=request_.pk).update(revision=2, asked={**request_.asked, "input": {"amount": 1}})

    page = opened(browser, request_)
    answer = sent(browser, request_, "PASS")

    assert "What is stored is not what was asked" in page.words
    assert answer.status_code == 409
    assert reloaded(request_).state == "pending"


def test_sending_twice_records_once_and_says_so_calmly(request_, browser):
    shown = opened(browser, request_).hidden
    given = {"outcome": "PASS", "revision": shown["revision"], "digest": shown["digest"]}

    first, second = browser.post(page_of(request_), given), browser.post(page_of(request_), given)
    page = read(second)

    assert (first.status_code, second.status_code) == (303, 409)
    assert "You decided this already" in page.words
    assert not page.all("div", role="alert")
    assert Vote.objects.count() == 1


def test_who_comes_second_reads_who_decided_and_what_became_of_their_own_words(request_, browser):
    shown = opened(browser, request_).hidden
    deputy = person("deputy", "human:police_liaison")
    services.decide(request_id=request_.pk, actor=deputy, outcome="FAIL", reason="The park is closed.")

    answer = browser.post(
        page_of(request_),
        {"outcome": "PASS", "reason": "Mine.", "revision": shown["revision"], "digest": shown["digest"]},
    )
    page = read(answer)

    assert answer.status_code == 409
    assert "deputy decided this on" in page.words
    assert "What you had written: Mine." in page.words
    assert "Rejected Decided by deputy" in page.words
    assert Vote.objects.count() == 1


def test_a_decided_request_shows_the_decision_and_the_same_evidence_and_no_form(request_, browser):
    sent(browser, request_, "PASS", reason="The plan is sound.")

    page = opened(browser, request_)

    assert "Approved Decided by liaison" in page.words
    assert "Reason The plan is sound." in page.words
    assert "Supplied by the agent validator, not checked." in page.words
    assert page.outcomes == []


def test_a_request_whose_run_was_cancelled_says_that_nothing_is_to_decide(request_, browser):
    stopping.cancel_run(run_id=request_.run_id, actor=request_.run.started_by, reason="withdrawn")

    page = opened(browser, request_)
    answer = browser.post(page_of(request_), {"outcome": "PASS", "revision": "1", "digest": request_.digest})

    assert "Not Required There is nothing to decide here" in page.words
    assert "Collect-Fee not done" in page.words
    assert answer.status_code == 409


# Grave decisions, options, forms ---------------------------------------------------------------------------


@pytest.mark.parametrize(("severity", "typed"), [("high", "read"), ("critical", "human-approve")])
def test_a_grave_decision_is_confirmed_first(severity, typed, validator, browser):
    request = waiting_for_a_person(validator, human_step(severity=severity))

    hasty = sent(browser, request, "PASS", reason="Sure.")
    wrong = sent(browser, request, "PASS", confirmed="" if severity == "high" else "Collect-Fee")
    confirmed = sent(browser, request, "PASS", confirmed=typed)

    assert (hasty.status_code, wrong.status_code, confirmed.status_code) == (422, 422, 303)
    assert read(hasty).all("a", href="#id_confirmed")
    assert "Sure." in read(hasty).text


def test_a_grave_decision_is_rejected_without_further_ado(validator, browser):
    request = waiting_for_a_person(validator, human_step(severity="critical"))

    assert sent(browser, request, "FAIL", reason="No.").status_code == 303


def test_a_small_decision_is_not_burdened(request_, browser):
    assert not opened(browser, request_).all("input", name="confirmed")


OPTIONS = [
    {"key": "full", "label": "Close fully"},
    {"key": "one_lane", "label": "Keep one lane open"},
    {"key": "no", "label": "Do not close", "ends": "fail"},
]
FORM = {
    "type": "object",
    "required": ["officers"],
    "properties": {
        "officers": {"type": "integer", "minimum": 2, "title": "Officers on site"},
        "remark": {"type": "string", "title": "Remark"},
    },
}


def test_the_options_of_the_step_are_the_choices(validator, browser):
    request = waiting_for_a_person(validator, human_step(options=OPTIONS))

    page = opened(browser, request)
    sent(browser, request, "one_lane")

    assert page.outcomes == ["full", "one_lane", "no"]
    assert reloaded(request).outcome == "one_lane"
    assert "Keep one lane open Decided by liaison" in opened(browser, request).words


def test_one_can_always_say_no(validator, browser):
    request = waiting_for_a_person(validator, human_step(options=OPTIONS[:2]))

    assert opened(browser, request).outcomes == ["full", "one_lane", "FAIL"]
    assert sent(browser, request, "FAIL", reason="Neither.").status_code == 303


def test_the_fields_of_the_step_are_asked_for_and_their_values_kept(validator, browser):
    request = waiting_for_a_person(validator, human_step(form=FORM))

    few = sent(browser, request, "PASS", **{"answer-officers": "1", "answer-remark": "by noon"})
    enough = sent(browser, request, "PASS", **{"answer-officers": "4", "answer-remark": "by noon"})

    assert few.status_code == 422
    assert read(few).all("input", name="answer-remark", value="by noon")
    assert read(few).all("a", href="#id_answer-officers")
    assert enough.status_code == 303
    assert reloaded(request).response_data == {"officers": 4, "remark": "by noon"}
    assert "Officers on site officers 4" in opened(browser, request).words


def test_rejecting_asks_for_no_answer_and_keeps_what_was_typed(validator, browser):
    request = waiting_for_a_person(validator, human_step(form=FORM))

    silent = sent(browser, request, "FAIL", **{"answer-remark": "by noon"})
    spoken = sent(browser, request, "FAIL", reason="Too few people.")

    assert silent.status_code == 422
    assert read(silent).all("input", name="answer-remark", value="by noon")
    assert "This field is required" not in read(silent).words
    assert spoken.status_code == 303
    assert reloaded(request).response_data is None


# Cost ------------------------------------------------------------------------------------------------------


def test_the_number_of_queries_does_not_grow_with_what_has_happened(
    validator, liaison, browser, django_assert_num_queries
):
    short = waiting_for_a_person(validator)
    checks = [{"id": f"Check-{number}", "role": "agent:validator"} for number in range(6)]
    run = started(steps(*checks, PERMIT["steps"][1], id="thorough"))
    for _ in checks:
        lease = claimed(validator)
        runs.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS", output={"ok": 1})
    long = ActionRequest.objects.get(run=run)
    for number in range(6):
        person(f"deputy{number}", "human:police_liaison")

    browser.get(page_of(short))  # what a process reads once
    for request in (short, long):
        with django_assert_num_queries(QUERIES):
            browser.get(page_of(request))
