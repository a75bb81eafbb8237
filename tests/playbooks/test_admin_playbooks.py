# SPDX-License-Identifier: Apache-2.0
"""The pages of playbooks and versions: what they tell, how a document is written, and how it comes into force."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile

from audit.models import Entry
from playbooks import services
from playbooks.models import Playbook, Version, VersionState
from playbooks.parse import parse_data
from playbooks.shown import retries_in_words
from runs import stopping
from tests.factories import founder, published, reloaded, started, steps

PLAYBOOKS, VERSIONS = "/admin/playbooks/playbook/", "/admin/playbooks/version/"
LOOKS = steps({"id": "look", "role": "agent:validator"}, id="looks")
LOOKS_TWICE = steps({"id": "look", "role": "agent:validator"}, {"id": "again", "role": "agent:validator"}, id="looks")
FAULTY = '{\n  "id": "looks",\n  "steps": [\n    {"id": "look", "type": "agnet"}\n  ]\n}\n'


@pytest.fixture
def draft(db: None) -> Version:
    return services.create_playbook(actor=founder(), parsed=parse_data(LOOKS))


def text_of(response: Any) -> str:
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def page_of(version: Version, page: str = "change") -> str:
    return f"{VERSIONS}{version.pk}/{page}/"


# Looking --------------------------------------------------------------------------------------------------


def test_the_list_tells_what_is_in_force_and_what_is_under_way(client_for, auditor):
    run = started(LOOKS)
    started(LOOKS)
    stopping.cancel_run(run_id=run.pk, actor=founder())
    published(LOOKS_TWICE)
    services.clone_version(actor=founder(), playbook="looks", number=2)
    (row,) = client_for(auditor).get(PLAYBOOKS).context["cl"].result_list

    assert (row.newest_published, row.drafts, row.runs_open) == (2, 1, 1)


def test_the_page_of_a_playbook_lists_its_versions_with_their_runs(client_for, auditor):
    started(LOOKS)
    published(LOOKS_TWICE)
    page = client_for(auditor).get(f"{PLAYBOOKS}{Playbook.objects.get().pk}/change/")

    assert "Version 2 published starts take this one" in text_of(page)
    assert "/admin/runs/run/?playbook=looks&amp;version=1" in page.content.decode()


def test_the_page_of_a_version_tells_its_steps_roles_and_document(client_for, auditor):
    document = steps(
        {"id": "look", "role": "agent:nobody_yet", "retries": 2, "max_minutes": 5, "title": "Look <closely>"},
        {"id": "pay", "type": "service", "role": "svc:finance", "call": "tests.charge"},
        {"id": "ask", "role": "human:clerk", "options": [{"key": "no", "label": "Not here", "ends": "fail"}]},
    )
    version = published(document)
    page = text_of(client_for(auditor).get(page_of(version)))

    assert "look Look <closely> agent agent:nobody_yet" in page
    assert "flagged as stalled after 5 min" in page
    assert "Not here (ends the run)" in page
    assert "agent:nobody_yet 0 attention Has no members." in page
    assert "svc:finance 0 Our worker acts for it." in page
    assert version.digest in page
    assert '"max_minutes": 5' in page


def test_a_document_is_shown_and_never_obeyed(client_for, auditor):
    version = published({**LOOKS, "title": "<img src=x onerror=alert(1)>", "description": "gnp\u202e.exe"})
    for path in (page_of(version), f"{PLAYBOOKS}{version.playbook_id}/change/", PLAYBOOKS, page_of(version, "edit")):
        page = client_for(founder()).get(path).content.decode()
        assert "<img src=x" not in page
        assert "\u202e" not in page.replace(re.search(r"<textarea.*?</textarea>|$", page, re.DOTALL)[0], "")


@pytest.mark.parametrize("path", [PLAYBOOKS, VERSIONS, "one playbook", "one version", "edit", "publish", "history"])
def test_playbooks_are_for_those_who_may_see_them(client_for, staff_member, draft, path):
    where = {"one playbook": f"{PLAYBOOKS}{draft.playbook_id}/change/", "one version": page_of(draft)}
    found = where.get(path) or (path if path.startswith("/") else page_of(draft, path))

    assert client_for(staff_member).get(found).status_code == 403


@pytest.mark.parametrize(("path", "queries"), [(PLAYBOOKS, 8), (VERSIONS, 9)])
def test_a_list_makes_as_many_queries_for_many_rows_as_for_one(
    client_for, auditor, path, queries, django_assert_num_queries
):
    client = client_for(auditor)
    started(LOOKS)
    client.get(path)
    with django_assert_num_queries(queries):
        client.get(path)
    for number in range(5):
        started({**LOOKS, "id": f"looks-{number}"})

    with django_assert_num_queries(queries):
        client.get(path)


# Writing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [json.dumps(LOOKS), "id: looks\nsteps:\n  - id: look\n    role: agent:validator\n"], ids=["json", "yaml"]
)
def test_a_playbook_is_written_as_json_or_yaml(client_for, playbook_author, text):
    client = client_for(playbook_author)
    assert client.get(f"{PLAYBOOKS}add/").status_code == 200
    answer = client.post(f"{PLAYBOOKS}add/", {"text": text})

    version = Version.objects.get()
    assert answer["Location"] == page_of(version)
    assert (version.playbook.slug, version.state, version.created_by) == ("looks", VersionState.DRAFT, playbook_author)


def test_a_playbook_is_uploaded(client_for, playbook_author):
    file = SimpleUploadedFile("looks.yaml", b"id: looks\nsteps:\n  - {id: look, role: 'agent:validator'}\n")
    client_for(playbook_author).post(f"{PLAYBOOKS}add/", {"text": "", "upload": file})

    assert Playbook.objects.get().slug == "looks"


@pytest.mark.parametrize("sent_as", ["text", "file"])
def test_what_is_wrong_stands_beside_the_text_which_is_kept(client_for, playbook_author, sent_as):
    fields = {"text": FAULTY} if sent_as == "text" else {"upload": SimpleUploadedFile("x.json", FAULTY.encode())}
    answer = client_for(playbook_author).post(f"{PLAYBOOKS}add/", fields)

    assert answer.status_code == 422
    assert not Playbook.objects.exists()
    page = text_of(answer)
    assert "Nothing was saved." in page
    assert "line 4" in page
    assert "steps[0].type" in page
    assert "Did you mean" in page
    assert "&quot;agnet&quot;" in answer.content.decode()


@pytest.mark.parametrize(
    ("text", "status"), [("", 422), ("{", 400), ("a: &x [1]\nb: *x\n", 400), ("- 1", 422), ("\x00", 422)]
)
def test_text_that_is_no_document_is_refused_with_its_status(client_for, playbook_author, text, status):
    answer = client_for(playbook_author).post(f"{PLAYBOOKS}add/", {"text": text})

    assert answer.status_code == status
    assert not Playbook.objects.exists()


def test_a_file_that_is_too_large_is_refused(client_for, playbook_author):
    file = SimpleUploadedFile("x.json", b" " * (1024 * 1024 + 1))
    answer = client_for(playbook_author).post(f"{PLAYBOOKS}add/", {"upload": file})

    assert answer.status_code == 413
    assert "larger than 1 MiB" in text_of(answer)


def test_a_playbook_that_exists_is_not_written_a_second_time(client_for, playbook_author, draft):
    answer = client_for(playbook_author).post(f"{PLAYBOOKS}add/", {"text": json.dumps(LOOKS)})

    assert answer.status_code == 409
    assert "exists" in text_of(answer)
    assert Version.objects.count() == 1


def test_a_draft_is_edited_and_its_history_kept(client_for, playbook_author, draft):
    client = client_for(playbook_author)
    assert "&quot;look&quot;" in client.get(page_of(draft, "edit")).content.decode()
    answer = client.post(page_of(draft, "edit"), {"text": json.dumps(LOOKS_TWICE)})

    assert answer["Location"] == page_of(draft)
    assert len(reloaded(draft).document["steps"]) == 2
    assert [len(old.document["steps"]) for old in draft.history.order_by("history_id")] == [1, 2]
    assert client.get(page_of(draft, "history")).status_code == 200


def test_editing_what_is_published_explains_itself_and_offers_to_clone(client_for, playbook_author):
    version = published(LOOKS)
    client = client_for(playbook_author)
    page = client.get(page_of(version, "edit"))

    assert "A published version never changes" in text_of(page)
    assert page_of(version, "clone") in page.content.decode()
    answer = client.post(page_of(version, "edit"), {"text": json.dumps(LOOKS_TWICE)})
    assert answer.status_code == 409
    assert reloaded(version).document == version.document


def test_a_version_is_cloned_on_post_and_not_on_get(client_for, playbook_author):
    version = published(LOOKS)
    client = client_for(playbook_author)
    client.get(page_of(version, "clone"))
    assert Version.objects.count() == 1

    answer = client.post(page_of(version, "clone"))
    draft = Version.objects.get(number=2)
    assert answer["Location"] == page_of(draft)
    assert (draft.state, draft.document) == (VersionState.DRAFT, version.document)


def test_a_new_version_begins_with_what_the_newest_says(client_for, playbook_author):
    version = published(LOOKS)
    client = client_for(playbook_author)
    path = f"{PLAYBOOKS}{version.playbook_id}/version/"
    assert "&quot;look&quot;" in client.get(path).content.decode()

    client.post(path, {"text": json.dumps(LOOKS_TWICE)})
    assert Version.objects.get(number=2).state == VersionState.DRAFT
    foreign = client.post(path, {"text": json.dumps({**LOOKS, "id": "other"})})
    assert foreign.status_code == 422


@pytest.mark.parametrize("page", ["edit", "clone"])
def test_who_only_looks_writes_nothing(client_for, auditor, draft, page):
    answer = client_for(auditor).post(page_of(draft, page), {"text": json.dumps(LOOKS_TWICE)})

    assert answer.status_code == 403
    assert list(Version.objects.values_list("document", flat=True)) == [draft.document]


# Coming into force ----------------------------------------------------------------------------------------


def test_before_publishing_the_page_says_what_to_know(client_for, administrator, draft):
    page = text_of(client_for(administrator).get(page_of(draft, "publish")))

    assert "steps[0].role : Role agent:validator does not exist: publishing makes it, without members." in page
    assert "Give agent:validator members" in page
    assert reloaded(draft).state == VersionState.DRAFT


def test_a_draft_is_published_on_post(client_for, administrator, draft):
    answer = client_for(administrator).post(page_of(draft, "publish"), follow=True)

    assert reloaded(draft).state == VersionState.PUBLISHED
    assert reloaded(draft).published_by == administrator
    assert Group.objects.filter(name="agent:validator").exists()
    assert "New runs start on it." in text_of(answer)
    assert Entry.objects.filter(action="version.published").count() == 1


def test_only_roles_that_somebody_has_to_fill_are_warned_of(client_for, administrator):
    document = steps(
        {"id": "look", "role": "agent:validator"},
        {"id": "pay", "type": "service", "role": "svc:finance", "call": "tests.charge"},
        id="pays",
    )
    services.create_playbook(actor=founder(), parsed=parse_data(document))
    first = text_of(client_for(administrator).post(page_of(Version.objects.get(), "publish"), follow=True))
    services.clone_version(actor=founder(), playbook="pays", number=1)
    second = text_of(client_for(administrator).post(page_of(Version.objects.get(number=2), "publish"), follow=True))

    assert "Role agent:validator does not exist: publishing makes it, without members." in first
    assert "Role agent:validator has no members: its tasks will wait." in second
    assert "Role svc:finance" not in first + second


def test_what_cannot_run_cannot_be_published(client_for, administrator):
    document = steps({"id": "pay", "type": "service", "call": "no_such.action"}, id="pays")
    version = services.create_playbook(actor=founder(), parsed=parse_data(document))
    client = client_for(administrator)
    page = client.get(page_of(version, "publish"))

    assert "No service offers the action" in text_of(page)
    assert re.search(r"<button[^>]*disabled[^>]*>Publish", page.content.decode())
    assert client.post(page_of(version, "publish")).status_code == 422
    assert reloaded(version).state == VersionState.DRAFT


def test_an_author_reads_why_they_do_not_publish(client_for, playbook_author, draft):
    client = client_for(playbook_author)

    assert "The permission playbooks.publish is needed." in text_of(client.get(page_of(draft)))
    assert client.post(page_of(draft, "publish")).status_code == 403
    assert reloaded(draft).state == VersionState.DRAFT


def test_a_version_is_retired_with_a_reason(client_for, administrator):
    version = published(LOOKS)
    client = client_for(administrator)
    client.get(page_of(version, "retire"))
    assert client.post(page_of(version, "retire"), {"reason": ""}).status_code == 422
    assert reloaded(version).state == VersionState.PUBLISHED

    client.post(page_of(version, "retire"), {"reason": "The law changed."})
    assert reloaded(version).state == VersionState.RETIRED
    assert Entry.objects.get(action="version.retired").note == "The law changed."


def test_a_draft_is_not_retired(client_for, administrator, draft):
    answer = client_for(administrator).post(page_of(draft, "retire"), {"reason": "no"})

    assert answer.status_code == 409


# Evidence is not edited -----------------------------------------------------------------------------------


def test_no_version_is_edited_deleted_or_put_back_by_hand(client_for, superuser):
    version = published(LOOKS)
    old = version.history.order_by("history_id").first()
    client = client_for(superuser)
    for path in (page_of(version), page_of(version, "delete"), page_of(version, f"history/{old.pk}")):
        client.post(path, {"number": 7, "state": "draft", "post": "yes", "document": "{}"})

    assert reloaded(version).state == VersionState.PUBLISHED
    assert reloaded(version).document == version.document


@pytest.mark.parametrize(
    ("retries", "words"),
    [
        (0, "none"),
        (3, "up to 3, after 1 s, then 2 times as long each"),
        ({"maximum_attempts": 2, "backoff_coefficient": 1}, "up to 1, after 1 s"),
        ({"maximum_attempts": 0, "initial_interval": 5}, "without limit, after 5 s, then 2 times as long each"),
    ],
)
def test_retries_are_told_in_words(retries, words):
    definition = parse_data(steps({"id": "look", "role": "agent:x", "retries": retries})).definition

    assert retries_in_words(definition.steps[0].retries) == words
