# SPDX-License-Identifier: Apache-2.0
"""An administrator's acts by hand: a key shown once, the next version of a playbook, a run cancelled."""

import json

import httpx2
import pytest
from playwright.sync_api import Error, expect

from accounts import seeds
from accounts.models import ApiKey
from playbooks.models import Version, VersionState
from runs.models import Run
from tests.factories import PERMIT, reloaded, waiting_for_a_person
from tests.people import PASSWORD, person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def administrator(visitor):
    """At work, logged in, with the dashboard open."""
    person("ada", seeds.ADMINISTRATOR, seeds.AUTHOR)
    visitor.log_in("ada", PASSWORD)
    return visitor


def status_with(key, visitor):
    """What a program that holds the key is answered."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.get(f"{visitor.url}/acts/runs", headers=headers, trust_env=False).status_code


def test_a_key_is_shown_once_works_and_is_revoked(administrator, validator):
    administrator.follow("Users and agents")
    administrator.follow("validator")
    administrator.follow("New API key")
    administrator.fill({"Name": "night shift"})
    administrator.press("Make the key")

    shown = administrator.page.get_by_label("API key")
    key = shown.input_value()
    assert key.startswith("hmsact_")
    assert status_with(key, administrator) == 200
    assert administrator.faults_by_day_and_night() == []

    administrator.follow("I have kept it")
    row = administrator.page.get_by_role("row").filter(has_text="night shift")
    administrator.click(row.get_by_role("link").first)
    assert key not in administrator.page.content()
    administrator.page.go_back()
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        administrator.page.go_back()  # the browser was told to keep no copy
    administrator.page.wait_for_url("chrome-error://chromewebdata/")

    administrator.open(f"/admin/accounts/apikey/{ApiKey.objects.get(name='night shift').pk}/change/")
    administrator.follow("Revoke")
    administrator.fill({"Reason": "The machine was sold."})
    administrator.press("Revoke")
    assert status_with(key, administrator) == 401


def test_the_next_version_is_cloned_changed_published_and_started_beside_the_old_one(administrator, validator):
    old = waiting_for_a_person(validator).run
    administrator.follow("Playbooks")
    administrator.follow("protest_permit")
    administrator.follow("Version 1")
    administrator.follow("Clone to the next version")
    administrator.press("Make the draft")

    administrator.follow("Edit")
    changed = {**PERMIT, "steps": [*PERMIT["steps"], {"id": "Tell-Press", "role": "agent:press", "call": "tell"}]}
    administrator.fill({"Document": json.dumps(changed)})
    administrator.press("Save the draft")
    administrator.follow("Publish")
    administrator.press("Publish")

    version = Version.objects.get(number=2)
    assert version.state == VersionState.PUBLISHED
    expect(administrator.page.get_by_role("main")).to_contain_text("It never changes.")
    expect(administrator.page.get_by_role("main")).to_contain_text(version.digest)

    administrator.follow("Start a run")
    administrator.fill({"Payload": '{"form_id": 124}'})
    administrator.press("Start the run")
    new = Run.objects.latest("id")
    expect(administrator.page.get_by_role("main").get_by_role("heading", level=1)).to_contain_text(f"Run {new.pk}:")
    assert (new.version.number, reloaded(old).version.number) == (2, 1)


def test_a_run_is_cancelled_once_a_reason_is_given(administrator, validator):
    request = waiting_for_a_person(validator)
    administrator.follow("Runs")
    administrator.follow(str(request.run_id))
    administrator.follow("Cancel the run")
    administrator.fill({"Reason": "The applicant withdrew."})
    administrator.press("Cancel the run")

    expect(administrator.page.get_by_text(f"Run {request.run_id} is cancelled.")).to_be_visible()
    assert (reloaded(request.run).state, reloaded(request).state) == ("cancelled", "not_required")
    administrator.open(f"/admin/approvals/actionrequest/{request.pk}/decide/")
    expect(administrator.page.get_by_text("There is nothing to decide here")).to_be_visible()
