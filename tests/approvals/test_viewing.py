# SPDX-License-Identifier: Apache-2.0
"""The first look at a request by somebody who may decide it: told by the page, kept once, counted by the statistics."""

import pytest

from approvals import services, statistics, tallying
from approvals.asking import create_request
from approvals.models import ActionRequest
from approvals.viewing import note_view
from audit import actions
from audit.models import Entry
from config import clock
from config.errors import Forbidden, NotFound
from tests.approvals.pages import page_of, read
from tests.factories import later
from tests.people import person

pytestmark = pytest.mark.django_db
LIAISON = "human:police_liaison"


@pytest.fixture
def asked(validator):
    return create_request(actor=validator, role=LIAISON, title="May I?")


def seen_at(request):
    return f"{page_of(request)}seen/"


def first_viewed(request):
    return ActionRequest.objects.values_list("first_viewed_at", flat=True).get(pk=request.pk)


def looks():
    return Entry.objects.filter(action=actions.REQUEST_VIEWED)


def test_to_read_the_page_changes_nothing_and_the_page_says_once_that_it_is_seen(asked, liaison, client_for):
    client = client_for(liaison)
    assert read(client.get(page_of(asked))).all("form", **{"data-seen": seen_at(asked)})
    assert first_viewed(asked) is None

    assert client.post(seen_at(asked), headers={"Accept": "application/json"}).status_code == 200

    assert first_viewed(asked) is not None
    (look,) = looks()
    assert (look.actor_name, look.request_id) == ("liaison", asked.pk)
    assert look.content["data"] == {"revision": 1, "content_hash": asked.digest}
    assert not read(client.get(page_of(asked))).all("form", **{"data-seen": seen_at(asked)})


def test_only_the_first_look_is_kept(asked, liaison):
    assert note_view(request_id=asked.pk, actor=liaison)
    first = first_viewed(asked)
    later(minutes=5)

    assert not note_view(request_id=asked.pk, actor=liaison)
    assert (first_viewed(asked), looks().count()) == (first, 1)


def test_the_look_of_whoever_may_not_decide_is_none(asked, validator, auditor, client_for):
    with pytest.raises(Forbidden):
        note_view(request_id=asked.pk, actor=validator)
    client = client_for(auditor)
    assert not read(client.get(page_of(asked))).all("form", **{"data-seen": seen_at(asked)})
    assert client.post(seen_at(asked)).status_code == 403

    assert (first_viewed(asked), looks().count()) == (None, 0)


def test_who_may_not_see_it_is_told_of_nothing(asked):
    with pytest.raises(NotFound):
        note_view(request_id=asked.pk, actor=person("stranger"))
    assert first_viewed(asked) is None


def test_what_is_decided_is_not_looked_at_for_the_first_time(asked, liaison):
    services.decide(request_id=asked.pk, actor=liaison, outcome="PASS")

    assert not note_view(request_id=asked.pk, actor=liaison)


def test_the_time_to_the_first_look_is_in_the_statistics(asked, liaison, auditor):
    later(minutes=10)
    note_view(request_id=asked.pk, actor=liaison)
    later(minutes=20)
    services.decide(request_id=asked.pk, actor=liaison, outcome="PASS")
    tallying.tally_closed(clock.now())

    told = statistics.report(auditor)

    assert told["times"]["view"]["wall"]["p50"] == pytest.approx(600, rel=0.1)
