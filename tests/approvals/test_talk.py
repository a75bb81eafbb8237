# SPDX-License-Identifier: Apache-2.0
"""The talk around a request: comments and attachments of who has a part in it, and everybody's own draft."""

import hashlib
import io
import zipfile
from base64 import b64encode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from approvals import asking, services, talk
from approvals.models import ActionRequest, Attachment, Comment, Draft
from audit.models import Entry
from config import clock
from tests.approvals.pages import opened, page_of, read
from tests.factories import later, waiting_for_a_person
from tests.people import agent, person

pytestmark = pytest.mark.django_db

ROLE = "human:police_liaison"
PDF = b"%PDF-1.7\nan invoice"
FORM = {
    "type": "object",
    "properties": {
        "officers": {"type": "integer", "minimum": 1, "title": "Officers"},
        "routes": {"type": "array", "items": {"enum": ["river", "bridge"]}, "title": "Routes"},
        "plan": {"type": "object", "properties": {"lead": {"type": "string"}}, "title": "Plan"},
        "more": {"type": "object", "title": "More"},
        "code": {"type": "string", "format": "password", "title": "Code"},
    },
}


def asked(by, **given):
    return asking.create_request(**{"actor": by, "title": "How many?", "role": ROLE, **given})


def at(request, act):
    return f"/hitl/requests/{request.pk}/{act}"


def page_act(request, act):
    return f"{page_of(request)}{act}/"


@pytest.fixture
def request_(validator):
    return asked(validator, form=FORM)


# Comments -------------------------------------------------------------------------------------------------


def test_comments_are_listed_oldest_first_for_all_who_read_the_request(request_, validator, liaison, auditor, api_for):
    api_for(validator).post(at(request_, "comment"), {"text": "The route is short."})
    answer = api_for(liaison).post(at(request_, "comment"), {"text": "Is the bridge open?"})

    assert answer.status_code == 201
    assert (answer.json()["author"], answer.json()["revision"]) == ("liaison", 1)
    listed = api_for(auditor).get(at(request_, "comment")).json()["results"]
    assert [(one["author"], one["text"]) for one in listed] == [
        ("validator", "The route is short."),
        ("liaison", "Is the bridge open?"),
    ]


def test_a_comment_is_in_the_log_with_its_text_disclosed_beside_it(request_, liaison):
    talk.comment(request_id=request_.pk, actor=liaison, text="Is the bridge open?")

    entry = Entry.objects.get(action="hitl.request.commented")
    assert (entry.actor_name, entry.request_id, entry.disclosed) == (
        "liaison",
        request_.pk,
        {"text": "Is the bridge open?"},
    )
    assert b"bridge" not in bytes(entry.body)


def test_who_has_no_part_in_it_reads_and_does_not_comment(request_, auditor, superuser, api_for):
    stranger = agent("stranger", "agent:stranger")

    for reader in (auditor, superuser):
        assert api_for(reader).post(at(request_, "comment"), {"text": "Hm."}).status_code == 403
        assert api_for(reader).get(at(request_, "comment")).status_code == 200
    assert api_for(stranger).post(at(request_, "comment"), {"text": "Hm."}).status_code == 404
    assert api_for(stranger).get(at(request_, "comment")).status_code == 404
    assert Comment.objects.count() == 0
    assert Entry.objects.filter(action="hitl.request.talk_denied").count() == 3


def test_who_works_in_its_run_has_a_part_in_it(validator, api_for):
    request = waiting_for_a_person(validator)

    assert api_for(validator).post(at(request, "comment"), {"text": "I screened it."}).status_code == 201
    assert api_for(request.run.started_by).post(at(request, "comment"), {"text": "I began it."}).status_code == 201


def test_a_closed_request_is_still_talked_about(request_, liaison, api_for):
    services.decide(request_id=request_.pk, actor=liaison, outcome="FAIL", reason="No.")

    assert api_for(liaison).post(at(request_, "comment"), {"text": "For the record."}).status_code == 201


@pytest.mark.parametrize("text", ["", "  \n", "x" * 10_001, 7, None])
def test_what_is_no_comment_is_refused(request_, liaison, api_for, text):
    assert api_for(liaison).post(at(request_, "comment"), {"text": text}).status_code == 422
    assert Comment.objects.count() == 0


def test_there_is_an_end_to_comments(request_, liaison, api_for, monkeypatch):
    monkeypatch.setattr(talk, "MAX_COMMENTS", 1)
    talk.comment(request_id=request_.pk, actor=liaison, text="One.")

    assert api_for(liaison).post(at(request_, "comment"), {"text": "Two."}).status_code == 422


def test_a_comment_on_the_page_is_text_and_hides_nothing(request_, liaison, client_for):
    browser = client_for(liaison)

    sent = browser.post(page_act(request_, "comment"), {"comment": "<script>alert(1)</script>\u202etxt\u200b"})

    assert sent.status_code == 303
    html = browser.get(page_of(request_)).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;U+202E&gt;txt&lt;U+200B&gt;" in html
    assert "<script>alert" not in html


def test_a_comment_that_is_refused_on_the_page_is_still_there(request_, liaison, client_for):
    refused = client_for(liaison).post(page_act(request_, "comment"), {"comment": "y" * 10_001})

    assert refused.status_code == 422
    assert "y" * 10_001 in refused.content.decode()
    assert "at most 10000 characters" in read(refused).words


def test_looking_changes_nothing(request_, liaison, client_for):
    browser, before = client_for(liaison), Entry.objects.count()

    for act in ("comment", "attach", "draft", "secret"):
        assert browser.get(page_act(request_, act)).status_code == 405
    opened(browser, request_)

    assert (Entry.objects.count(), Comment.objects.count(), Draft.objects.count()) == (before, 0, 0)


def test_before_a_blind_vote_nobody_reads_what_others_said_who_have_voted(validator, liaison, api_for):
    deputy = person("deputy", ROLE)
    request = asked(validator, policy={"required_approvals": 2, "blind": True})
    api_for(deputy).post(at(request, "comment"), {"text": "I would say no."})
    api_for(validator).post(at(request, "comment"), {"text": "Here are the facts."})

    def read_by(reader):
        return [one["text"] for one in api_for(reader).get(at(request, "comment")).json()["results"]]

    assert read_by(liaison) == ["I would say no.", "Here are the facts."]
    services.decide(request_id=request.pk, actor=deputy, outcome="PASS")
    assert read_by(liaison) == ["Here are the facts."]
    assert read_by(deputy) == ["I would say no.", "Here are the facts."]


def test_comments_and_attachments_are_only_added(request_, liaison):
    talk.comment(request_id=request_.pk, actor=liaison, text="One.")
    talk.attach(request_id=request_.pk, actor=liaison, name="a.pdf", content=PDF)

    for model, change in ((Comment, {"text": "Two."}), (Attachment, {"content": b"%PDF-other"})):
        with pytest.raises(IntegrityError), transaction.atomic():
            model.objects.update(**change)
        with pytest.raises(IntegrityError), transaction.atomic():
            model.objects.all().delete()


# Attachments ----------------------------------------------------------------------------------------------


def test_a_file_is_attached_as_json_and_comes_back_as_it_was(request_, validator, liaison, api_for):
    body = {"name": "invoice.pdf", "content": b64encode(PDF).decode()}

    answer = api_for(validator).post(at(request_, "attachments"), body)

    told = answer.json()
    assert answer.status_code == 201
    assert (told["name"], told["media_type"], told["size"], told["sha256"], told["revision"]) == (
        "invoice.pdf", "application/pdf", len(PDF), hashlib.sha256(PDF).hexdigest(), 1,
    )  # fmt: skip
    (listed,) = api_for(liaison).get(at(request_, "attachments")).json()["results"]
    assert listed == told
    assert api_for(liaison).get(told["href"]).content == PDF


def test_a_file_is_attached_in_parts_as_a_browser_sends_it(request_, validator, api_for):
    file = SimpleUploadedFile("../../scan.exe", PDF, content_type="text/html")

    answer = api_for(validator).post(at(request_, "attachments"), {"file": file}, format="multipart")

    assert answer.status_code == 201, answer.content
    assert (answer.json()["name"], answer.json()["media_type"]) == ("scan.exe", "application/pdf")


def test_it_is_handed_out_for_saving_and_for_nothing_else(request_, validator, liaison, api_for):
    body = {"name": 'evil"\r\nX-A: b.html', "content": b64encode(b"<script>alert(1)</script>").decode()}
    href = api_for(validator).post(at(request_, "attachments"), body).json()["href"]

    answer = api_for(liaison).get(href)

    assert answer["Content-Disposition"] == 'attachment; filename="evil__U+000D_ X-A_ b.html.txt"'
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'; frame-ancestors 'none'"
    assert (answer["X-Content-Type-Options"], answer["Cache-Control"]) == ("nosniff", "private, no-store")
    assert "X-A" not in answer.headers


def test_its_hash_is_in_the_log_and_its_name_only_beside_it(request_, validator):
    talk.attach(request_id=request_.pk, actor=validator, name="Ann's invoice.pdf", content=PDF)

    entry = Entry.objects.get(action="hitl.request.attached")
    assert entry.data["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert entry.data["media_type"] == "application/pdf"
    assert entry.disclosed == {"name": "Ann's invoice.pdf"}
    assert b"Ann" not in bytes(entry.body)


def test_the_same_file_sent_twice_is_one_attachment(request_, validator, liaison, api_for):
    body = {"name": "invoice.pdf", "content": b64encode(PDF).decode()}
    sender = api_for(validator)

    first, again = (sender.post(at(request_, "attachments"), body) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert api_for(liaison).post(at(request_, "attachments"), body).status_code == 201
    assert Attachment.objects.count() == 2
    assert Entry.objects.filter(action="hitl.request.attached").count() == 2


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("tool.pdf", b"MZ\x90\x00", 422),
        ("nothing.pdf", b"", 422),
        ("x" * 201, PDF, 422),
        ("big.txt", b"a" * 2_001, 413),
    ],
)
def test_what_is_no_attachment_is_refused(request_, validator, api_for, settings, name, content, status):
    settings.ATTACHMENT_MAX_BYTES = 2_000
    sender = api_for(validator)

    answers = [
        sender.post(at(request_, "attachments"), {"name": name, "content": b64encode(content).decode()}),
        sender.post(at(request_, "attachments"), {"file": SimpleUploadedFile(name, content)}, format="multipart"),
    ]

    assert answers[0].status_code == status, answers[0].content
    assert answers[1].status_code in (status, 201)  # Django itself shortens a name that comes in parts
    assert Attachment.objects.filter(name=name).count() == 0


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a", "content": "no base64!"},
        {"name": "a", "content": "YQ"},
        {"name": "a"},
        {"content": "YQ=="},
        {"name": 1, "content": "YQ=="},
        {"name": "a", "content": "YQ==", "type": "image/png"},
    ],
)
def test_a_body_that_holds_no_file_is_refused(request_, validator, api_for, body):
    assert api_for(validator).post(at(request_, "attachments"), body).status_code == 422


@pytest.mark.parametrize("parts", [{}, {"other": "x"}, {"file": "no file"}])
def test_parts_without_one_file_are_refused(request_, validator, api_for, parts):
    assert api_for(validator).post(at(request_, "attachments"), parts, format="multipart").status_code == 422


def test_a_body_that_is_no_form_in_parts_is_refused(request_, validator, api_for):
    sender = api_for(validator)

    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = sender.generic("POST", at(request_, "attachments"), b"--y\r\nhm", content_type=kind)
        assert answer.status_code in (400, 422), answer.content


def test_an_archive_stays_packed(request_, validator, api_for):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\x00" * 5_000_000)
    body = {"name": "bomb.zip", "content": b64encode(packed.getvalue()).decode()}

    answer = api_for(validator).post(at(request_, "attachments"), body).json()

    assert (answer["media_type"], answer["size"]) == ("application/zip", len(packed.getvalue()))


def test_nothing_is_attached_to_a_closed_request_or_by_who_has_no_part(request_, validator, liaison, auditor, api_for):
    body = {"name": "a.pdf", "content": b64encode(PDF).decode()}
    assert api_for(auditor).post(at(request_, "attachments"), body).status_code == 403
    services.decide(request_id=request_.pk, actor=liaison, outcome="FAIL", reason="No.")

    assert api_for(validator).post(at(request_, "attachments"), body).status_code == 409
    assert Attachment.objects.count() == 0


def test_there_is_an_end_to_attachments(request_, validator, api_for, monkeypatch):
    monkeypatch.setattr(talk, "MAX_ATTACHMENTS", 1)
    talk.attach(request_id=request_.pk, actor=validator, name="a.pdf", content=PDF)
    body = {"name": "b.pdf", "content": b64encode(PDF + b"2").decode()}

    assert api_for(validator).post(at(request_, "attachments"), body).status_code == 422


def test_an_attachment_of_another_request_is_not_found_at_this_one(request_, validator, liaison, api_for):
    other = asked(agent("other", "agent:other"), role="human:clerk")
    added, _ = talk.attach(request_id=request_.pk, actor=validator, name="a.pdf", content=PDF)
    reader = api_for(liaison)

    assert reader.get(at(request_, f"attachments/{added.pk}")).status_code == 200
    assert reader.get(at(other, f"attachments/{added.pk}")).status_code == 404
    assert reader.get(at(request_, "attachments/999999999999999999")).status_code == 404
    assert api_for(agent("stranger", "agent:stranger")).get(at(request_, f"attachments/{added.pk}")).status_code == 404


def test_a_file_that_is_not_what_was_attached_is_not_handed_out(request_, validator, liaison, api_for, caplog):
    added = Attachment.objects.create(
        request=request_, revision=1, uploader=validator, name="a.pdf", media_type="application/pdf", size=len(PDF),
        sha256=hashlib.sha256(b"another").hexdigest(), content=PDF, created_at=clock.now(),
    )  # fmt: skip

    answer = api_for(liaison).get(at(request_, f"attachments/{added.pk}"))

    assert (answer.status_code, answer.json()["code"]) == (409, "attachment_damaged")
    assert "SHA-256 differs" in caplog.text


def test_the_page_shows_attachments_and_takes_them(request_, liaison, client_for):
    browser = client_for(liaison)

    sent = browser.post(page_act(request_, "attach"), {"file": SimpleUploadedFile("plan\u202e.pdf", PDF)})

    assert sent.status_code == 303
    page = opened(browser, request_)
    assert "application/pdf" in page.words
    assert "attached by liaison" in page.words
    (link,) = [one for one in page.all("a") if "/attachments/" in one.get("href", "")]
    assert browser.get(link["href"]).content == PDF
    assert (
        browser.post(page_act(request_, "attach"), {"file": SimpleUploadedFile("a.exe", b"MZ\x00")}).status_code == 422
    )
    assert browser.post(page_act(request_, "attach"), {}).status_code == 422


# Drafts ---------------------------------------------------------------------------------------------------


def test_a_draft_is_kept_for_its_writer_alone_and_without_secrets(request_, liaison, validator, api_for):
    desk, colleague = api_for(liaison), api_for(person("colleague", ROLE))
    written = {"outcome": "PASS", "notes": "So far", "response_data": {"officers": "fo", "code": "s3cret"}}

    saved = desk.post(at(request_, "draft"), written).json()

    assert saved["response_data"] == {"officers": "fo"}
    assert desk.get(at(request_, "draft")).json() == saved
    assert colleague.get(at(request_, "draft")).status_code == 404
    assert api_for(validator).post(at(request_, "draft"), written).status_code == 403
    assert Draft.objects.get().response_data == {"officers": "fo"}


def test_a_later_draft_takes_the_place_of_the_first(request_, liaison, api_for):
    desk = api_for(liaison)
    desk.post(at(request_, "draft"), {"notes": "First"})
    desk.post(at(request_, "draft"), {"notes": "Second"})

    assert Draft.objects.get().notes == "Second"


def test_what_was_typed_into_the_page_is_there_again_but_for_secrets(request_, liaison, client_for):
    browser = client_for(liaison)
    typed = {
        "outcome": "FAIL",
        "reason": "Because of",
        "answer-officers": "4x",
        "answer-routes": ["bridge"],
        "answer-plan.lead": "Ann",
        "answer-more": '{"a": 1}',
        "answer-code": "s3cret",
    }

    saved = browser.post(page_act(request_, "draft"), typed)

    assert saved.status_code == 303
    page = opened(browser, request_)
    values = {one["name"]: one for one in page.all("input") if "name" in one and one.get("type") != "radio"}
    assert values["answer-officers"]["value"] == "4x"
    assert values["answer-plan.lead"]["value"] == "Ann"
    assert "value" not in values["answer-code"]
    assert [one["value"] for one in page.all("input", name="answer-routes") if "checked" in one] == ["bridge"]
    assert [one["value"] for one in page.all("input", name="outcome") if "checked" in one] == ["FAIL"]
    assert "Because of" in page.words
    assert '{"a": 1}' in page.words
    assert "s3cret" not in page.text


def test_the_pages_own_script_keeps_a_draft(request_, liaison, client_for):
    answer = client_for(liaison).post(page_act(request_, "draft"), {"reason": "So far"}, HTTP_ACCEPT="application/json")

    assert answer.status_code == 200
    assert answer.json()["said"].startswith("Draft saved, without what is secret in it, ")


def test_a_draft_over_the_api_is_there_on_the_page(request_, liaison, api_for, client_for):
    written = {"response_data": {"officers": 4, "plan": {"lead": "Ann"}, "more": {"a": [1]}}, "notes": "By phone"}
    api_for(liaison).post(at(request_, "draft"), written)

    page = opened(client_for(liaison), request_)

    values = {one["name"]: one.get("value") for one in page.all("input") if one.get("name", "").startswith("answer-")}
    assert (values["answer-officers"], values["answer-plan.lead"]) == ("4", "Ann")
    assert '"a": [ 1 ]' in page.words


@pytest.mark.parametrize("answer", [{"officers": [1]}, {"routes": "x"}, {"plan": 7}, {"more": None}, {"other": 1}])
def test_whatever_a_draft_holds_the_page_opens(request_, liaison, api_for, client_for, answer):
    api_for(liaison).post(at(request_, "draft"), {"response_data": answer})

    assert client_for(liaison).get(page_of(request_)).status_code == 200


def test_a_decision_drops_all_drafts(request_, liaison, api_for, django_capture_on_commit_callbacks):
    colleague = person("colleague", ROLE)
    for writer in (liaison, colleague):
        api_for(writer).post(at(request_, "draft"), {"notes": "So far"})

    with django_capture_on_commit_callbacks(execute=True):
        services.decide(request_id=request_.pk, actor=liaison, outcome="FAIL", reason="No.")

    assert Draft.objects.count() == 0
    assert api_for(liaison).get(at(request_, "draft")).status_code == 404
    assert api_for(liaison).post(at(request_, "draft"), {"notes": "Late"}).status_code == 409


def test_drafts_on_what_was_closed_otherwise_are_dropped_in_time(validator, liaison, api_for):
    open_one, closed = asked(validator), asked(validator, title="How many more?")
    for request in (open_one, closed):
        assert api_for(liaison).post(at(request, "draft"), {"notes": "So far"}).status_code == 200
    ActionRequest.objects.filter(pk=closed.pk).update(state="cancelled", next_check_at=None)

    assert talk.look_at_drafts(clock.now()) == 0
    later(hours=7)
    talk.look_at_drafts(clock.now())
    assert Draft.objects.get().request_id == open_one.pk
    assert Draft.objects.get().next_check_at > clock.now()


def test_a_draft_that_is_too_long_is_refused(request_, liaison, api_for):
    answer = api_for(liaison).post(at(request_, "draft"), {"response_data": {"remark": "x" * 70_000}})

    assert answer.status_code == 422


def test_a_list_of_attachments_reads_no_content(request_, validator):
    for number in range(3):
        talk.attach(request_id=request_.pk, actor=validator, name="a.txt", content=b"text %d" % number)

    with CaptureQueriesContext(connection) as read_:
        rows = list(talk.attachments_of(request_))

    assert [row.uploader.username for row in rows] == ["validator"] * 3
    (query,) = read_.captured_queries
    assert '"content"' not in query["sql"]
