# SPDX-License-Identifier: Apache-2.0
"""The protest permit by hand, from the citizen's form to the end of the run, in a whole installation."""

import re

import pytest
from playwright.sync_api import expect

from approvals.models import ActionRequest
from demo import story
from demo.cast import AUDITOR, LIAISON, PLAYBOOK
from demo.mailbox import mails_to, text_of
from runs.models import Run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

INBOX = "/admin/approvals/actionrequest/"
TITLE = "Approve the crowd-control plan"


def applied(citizen, mailbox, booking):
    """Fill in the public form and send it; the run that the citizen is given the number of."""
    place, day = booking
    citizen.open(f"/forms/{PLAYBOOK}")
    citizen.fill(
        {
            "Name of the person": mailbox.title(),
            "E-mail address": f"{mailbox}@example.org",
            "Date of the protest": day.isoformat(),
            "How many people": "250",
            "What the protest is about": "Clean air for the old town",
            "Crowd-control plan": story.PLAN,
        }
    )
    citizen.page.get_by_label("Place").select_option(place)
    citizen.page.get_by_label("What I state is true").check()
    citizen.press("Send")
    run = Run.objects.get(payload__email=f"{mailbox}@example.org")
    expect(citizen.page.get_by_text(f"Your reference is {run.pk}.")).to_be_visible()
    return run


def taken_up(liaison, run):
    """From the inbox to the page of what is asked about this run."""
    row = liaison.page.get_by_role("row").filter(has_text=f"run {run.pk}")
    liaison.click(row.get_by_role("link", name=TITLE))


def looked_up(person, run):
    """From wherever they are to the page of this run."""
    person.follow("Runs")
    person.follow(f"#{run.pk}")


def state_of(run):
    return Run.objects.values_list("state", flat=True).get(pk=run.pk)


def test_two_citizens_apply_one_is_permitted_and_one_is_refused_by_clicks_alone(city, visitor_of):
    citizen, liaison, auditor = (visitor_of(city.url) for _ in range(3))
    days = story.free_days()
    permitted, refused = applied(citizen, "ana", next(days)), applied(citizen, "ben", next(days))

    # Nobody is asked before the agent has passed it.
    liaison.log_in(LIAISON.username, city.cast.password(LIAISON))
    liaison.follow("Inbox")
    expect(liaison.page.get_by_text("Nothing waits for your decision.")).to_be_visible()
    assert mails_to(city.stage.mail, f"{LIAISON.username}@") == []

    city.start_agent()
    city.until(lambda: ActionRequest.objects.count() == 2)
    asked = city.until(lambda: len(mails := mails_to(city.stage.mail, f"{LIAISON.username}@")) == 2 and mails)
    assert {link for mail in asked for link in re.findall(r"https?://\S+", text_of(mail))} == {
        *(f"{city.url}{INBOX}{request.pk}/decide/" for request in ActionRequest.objects.all()),
        f"{city.url}/admin/approvals/preference/mine/",  # how to be told otherwise
    }

    # Approved by clicking.
    liaison.follow("Inbox")
    taken_up(liaison, permitted)
    liaison.press("Review this")
    liaison.page.get_by_label("Approve").check()
    liaison.fill({"Conditions": story.CONDITION, "Reason": story.APPROVED_BECAUSE})
    liaison.press("Record my decision")
    expect(liaison.page.get_by_text(f"Approved: {TITLE}.")).to_be_visible()

    # Refused, once the reason is given.
    taken_up(liaison, refused)
    liaison.page.get_by_label("Reject").check()
    liaison.press("Record my decision", status=422)
    expect(liaison.page.get_by_role("alert")).to_contain_text("Nothing was recorded")
    liaison.fill({"Reason": story.REJECTED_BECAUSE})
    liaison.press("Record my decision")
    expect(liaison.page.get_by_text("Nothing waits for your decision.")).to_be_visible()

    # What follows is the machines' work.
    city.until(lambda: state_of(permitted) == "completed" and state_of(refused) == "failed")
    broken = [promise.words for promise in story.promises(city.stage, permitted.pk, refused.pk) if not promise.holds]
    assert broken == []

    # Both runs tell it, to the liaison as to the auditor, whom they lead on to the log.
    looked_up(liaison, refused)
    expect(liaison.page.get_by_role("main")).to_contain_text(story.REJECTED_BECAUSE)
    auditor.log_in(AUDITOR.username, city.cast.password(AUDITOR))
    looked_up(auditor, permitted)
    steps = auditor.page.get_by_role("region", name="Steps")
    assert [each for each in story.ALL_STEPS if f"{each} Completed" not in " ".join(steps.inner_text().split())] == []
    auditor.follow("hitl.request.fulfilled")
    expect(auditor.page.get_by_role("group").filter(has_text="Note")).to_contain_text(story.APPROVED_BECAUSE)
    auditor.follow("Action log")
    rows = auditor.page.get_by_role("row")
    for actor, action in ((f"{LIAISON.username} (human)", "hitl.request.rejected"), ("system", "run.completed")):
        expect(rows.filter(has_text=action)).to_contain_text(actor)
    city.assert_all_alive()
