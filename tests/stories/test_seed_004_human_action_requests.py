# SPDX-License-Identifier: Apache-2.0
"""The human-in-the-loop system as printed: its own nine-step test with its counts, its examples, its calls.

Against a live web server, through the Python client and by HTTP. Credentials are added, and the package is ours.
"""

from __future__ import annotations

import asyncio
import io
import json
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from django.db import connections

from accounts import seeds
from approvals.models import ActionRequest
from approvals.services import decide
from audit.models import Entry
from config import clock
from hms_act import hitl as sdk
from hms_act.hitl import HITLService, get_hitl_service
from tests.config.web import served
from tests.people import agent, key_of, person
from tests.stories.fixtures_001.office import until

pytestmark = pytest.mark.django_db(transaction=True)

REVIEWERS = "human:reviewer"
ONE_OF_BEFORE = """
hitl = get_hitl_service()
hitl.create_request(agent_id="stripe-agent", request_type="custom", title="An earlier question")
"""
# What the field's own test does, in the words it prints.
NINE_STEPS = """
print("1 Initializing HITL service...")
hitl = get_hitl_service()
print("HITL service initialized")

print("2 Creating test request...")
request = hitl.create_request(
    agent_id="stripe-agent",
    request_type="api_key",
    title="Test API Key Request",
    description="Testing",
    required_fields={"account": "Account name"},
    priority="high",
    context={"service": "stripe"},
)
print(f"Request created with ID: {request.id}")

print("3 Listing all requests...")
print(f"Found {len(hitl.list_requests())} total request(s)")

print("4 Listing pending requests...")
pending = hitl.list_requests(status="pending")
print(f"Found {len(pending)} pending request(s)")

print("5 Retrieving request details...")
print(f"Retrieved request: {hitl.get_request(request.id).title}")

print("6 Fulfilling request...")
become("test-user")
fulfilled = get_hitl_service().fulfill_request(
    request.id, fulfilled_by="test-user", response_data={"account": "city"}, notes="Test"
)
print(f"Request fulfilled by: {fulfilled.fulfilled_by}")

print("7 Getting statistics...")
become("stripe-agent")
stats = hitl.get_statistics()
print(f"Statistics: Total: {stats['total_requests']}, Pending: {stats['pending']}, "
      f"Fulfilled: {stats['by_status']['fulfilled']}")

print("8 Testing rejection flow...")
second = hitl.create_request(agent_id="stripe-agent", request_type="custom", title="To be rejected")
become("test-admin")
rejected = get_hitl_service().reject_request(second.id, rejected_by="test-admin", reason="Not needed")
print(f"Request rejected by: {rejected.fulfilled_by}")

print("9 Final statistics...")
become("stripe-agent")
stats = hitl.get_statistics()
print(f"Final counts: Total: {stats['total_requests']}, Fulfilled: {stats['by_status']['fulfilled']}, "
      f"Rejected: {stats['by_status']['rejected']}")
"""
PRINTED = """\
1 Initializing HITL service...
HITL service initialized
2 Creating test request...
Request created with ID: {id}
3 Listing all requests...
Found 2 total request(s)
4 Listing pending requests...
Found 2 pending request(s)
5 Retrieving request details...
Retrieved request: Test API Key Request
6 Fulfilling request...
Request fulfilled by: test-user
7 Getting statistics...
Statistics: Total: 2, Pending: 1, Fulfilled: 1
8 Testing rejection flow...
Request rejected by: test-admin
9 Final statistics...
Final counts: Total: 3, Fulfilled: 1, Rejected: 1
"""
FOR_AGENTS = """
from hms_act.hitl import get_hitl_service

hitl = get_hitl_service()

# Create a request for API keys
request = hitl.create_request(
    agent_id="stripe-agent",
    request_type="api_key",
    title="Stripe API Key Required",
    description="Need production Stripe credentials",
    required_fields={
        "api_key": "Stripe API Key (sk_live_...)",
        "webhook_secret": "Webhook Secret (whsec_...)"
    },
    priority="high",
    context={"service": "stripe", "env": "production"}
)

print(f"Request created: {request.id}")
"""
BY_CURL = """
# List pending requests
curl http://localhost:8100/hitl/requests?status=pending

# Get request details
curl http://localhost:8100/hitl/requests/har_abc123

# Fulfill a request
curl -X POST http://localhost:8100/hitl/requests/har_abc123/fulfill \\
  -H "Content-Type: application/json" \\
  -d '{
    "fulfilled_by": "John Doe",
    "response_data": {
      "api_key": "sk_live_...",
      "webhook_secret": "whsec_..."
    },
    "notes": "Keys from Stripe dashboard"
  }'

# Get statistics
curl http://localhost:8100/hitl/statistics
"""
RESUMED_BY_AN_EVENT = """
# Pause workflow waiting for human input
if needs_api_key:
    request = hitl.create_request(title="May the workflow go on?", workflow_id=wf_id)
    workflow_engine.pause_workflow(
        workflow_id=wf_id,
        wait_for_hitl=request.id
    )

# Resume when fulfilled (via event subscription)
@message_bus.subscribe("hitl.request.fulfilled")
async def on_hitl_fulfilled(event):
    workflow_id = event.data["workflow_id"]
    await workflow_engine.resume_workflow(workflow_id)
"""


@dataclass
class Hub:
    url: str
    tokens: dict[str, str]
    environment: pytest.MonkeyPatch

    def become(self, who: str) -> None:
        self.environment.setenv("HMS_ACT_URL", self.url)
        self.environment.setenv("HMS_ACT_TOKEN", self.tokens[who])

    def script(self, who: str, text: str, **names: Any) -> tuple[str, dict[str, Any]]:
        """Run a printed script as somebody: (what it printed, its names)."""
        self.become(who)
        names = {"get_hitl_service": get_hitl_service, "become": self.become, **names}
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(text, names)
        return printed.getvalue(), names

    def service(self, who: str) -> HITLService:
        self.become(who)
        return get_hitl_service()

    def curl(self, who: str, command: str, request_id: str) -> httpx2.Response:
        """One printed call, sent as curl would send it, with a credential."""
        words = iter(shlex.split(command)[1:])
        method, headers, body, address = "", {"Authorization": f"Bearer {self.tokens[who]}"}, None, ""
        for word in words:
            if word == "-X":
                method = next(words)
            elif word == "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            elif word == "-d":
                body = next(words)
            else:
                address = word.replace("http://localhost:8100", self.url).replace("har_abc123", request_id)
        return httpx2.request(method or "GET", address, headers=headers, content=body, trust_env=False, timeout=30)


@pytest.fixture
def hub(process_environment, tmp_path, monkeypatch) -> Iterator[Hub]:
    users = [
        agent("stripe-agent", "agent:stripe"),
        agent("other-agent"),
        person("test-user", seeds.STAFF, REVIEWERS),
        person("test-admin", seeds.STAFF, REVIEWERS),
        person("overseer", seeds.AUDITOR),
    ]
    tokens = {user.username: key_of(user)[1] for user in users}
    with served(process_environment, tmp_path / "web.log") as web:
        yield Hub(str(web.base_url).rstrip("/"), tokens, monkeypatch)


def in_a_moment(act: Callable[[], object]) -> None:
    def run() -> None:
        time.sleep(1)  # real time: the server is another process
        try:
            act()
        finally:
            connections.close_all()

    threading.Thread(target=run).start()


def calls() -> list[str]:
    """The printed calls, without the remarks above them."""
    lines = [line for line in BY_CURL.splitlines() if not line.startswith("# ")]
    return ["curl" + each for each in "\n".join(lines).replace("\\\n", " ").split("curl") if each.strip()]


# As printed -----------------------------------------------------------------------------------------------


def test_the_nine_steps_of_its_own_test_print_what_they_printed(hub):
    hub.script("stripe-agent", ONE_OF_BEFORE)

    printed, names = hub.script("stripe-agent", NINE_STEPS)

    assert printed == PRINTED.format(id=names["request"].id)
    assert names["request"].id.startswith("har_")
    assert len(names["request"].id) == 16


def test_the_person_who_decides_is_the_one_who_is_logged_in_whatever_the_body_says(hub):
    request = hub.service("stripe-agent").create_request(title="Who decides?")

    fulfilled = hub.service("test-user").fulfill_request(request.id, fulfilled_by="John Doe")

    assert fulfilled.fulfilled_by == "test-user"
    assert ActionRequest.objects.get(pk=request.id).claimed_decider == "John Doe"


def test_an_agent_asks_by_the_printed_example(hub):
    printed, names = hub.script("stripe-agent", FOR_AGENTS)
    request = names["request"]

    assert printed == f"Request created: {request.id}\n"
    assert (request.status, request.request_type, request.priority) == ("pending", "api_key", "high")
    assert request.context == {"service": "stripe", "env": "production"}
    assert set(request.required_fields) == {"api_key", "webhook_secret"}


def test_the_printed_calls_answer_what_is_printed_of_them(hub):
    _, names = hub.script("stripe-agent", FOR_AGENTS)
    request_id = names["request"].id
    listed, shown, fulfilled, counted = (hub.curl("test-user", call, request_id) for call in calls())

    assert [each["id"] for each in listed.json()["results"]] == [request_id]
    assert shown.json()["title"] == "Stripe API Key Required"
    assert (fulfilled.status_code, fulfilled.json()["status"]) == (200, "fulfilled")
    assert fulfilled.json()["notes"] == "Keys from Stripe dashboard"
    assert "sk_live" not in json.dumps(fulfilled.json()["response_data"]), "a secret is the asking agent's alone"
    assert counted.status_code == 200
    told = hub.curl("overseer", calls()[-1], request_id).json()
    assert (told["total_requests"], told["by_type"]["api_key"], told["by_priority"]["high"]) == (1, 1, 1)


def test_a_workflow_is_resumed_by_the_printed_subscription(hub):
    class Engine:
        paused: dict[str, str] = {}
        resumed: list[str] = []

        def pause_workflow(self, workflow_id: str, wait_for_hitl: str) -> None:
            self.paused[workflow_id] = wait_for_hitl

        async def resume_workflow(self, workflow_id: str) -> None:
            await asyncio.sleep(0)
            self.resumed.append(workflow_id)

    engine, hitl = Engine(), hub.service("stripe-agent")
    _, names = hub.script(
        "stripe-agent",
        RESUMED_BY_AN_EVENT,
        hitl=hitl,
        message_bus=hitl,
        workflow_engine=engine,
        wf_id="wf-42",
        needs_api_key=True,
    )
    other = hub.service("other-agent").create_request(title="Not ours")

    hub.service("test-user").fulfill_request(other.id)
    hub.service("test-user").fulfill_request(engine.paused["wf-42"])
    until(lambda: engine.resumed)
    names["on_hitl_fulfilled"].unsubscribe()

    assert engine.resumed == ["wf-42"], "what others asked is not told"


# Waiting for the answer -----------------------------------------------------------------------------------


def test_an_agent_that_waits_gets_the_answer_when_it_is_given(hub, django_user_model):
    hitl = hub.service("stripe-agent")
    request = hitl.create_request(title="Which account?", required_fields={"account": "Account name"})
    reviewer = django_user_model.objects.get(username="test-user")
    answer = {"response_data": {"account": "city"}, "outcome": "PASS"}
    in_a_moment(lambda: decide(request_id=request.id, actor=reviewer, **answer))
    began = time.monotonic()

    answered = hitl.wait_for(request, timeout=30)

    assert answered.response_data == {"account": "city"}
    assert time.monotonic() - began < 15


def closed_as(state: str, request_id: str, hub: Hub) -> None:
    match state:
        case "rejected":
            hub.service("test-user").reject_request(request_id, reason="Too dear")
        case "cancelled":
            hub.service("stripe-agent").cancel_request(request_id)
        case "expired" | "not_required" | "superseded":
            row = ActionRequest.objects.get(pk=request_id)
            {"expired": row.expire, "not_required": row.become_not_required, "superseded": row.supersede}[state](
                at=clock.now()
            )
            row.save()


@pytest.mark.parametrize(
    ("state", "raised"),
    [
        ("rejected", sdk.Rejected),
        ("expired", sdk.Expired),
        ("cancelled", sdk.Cancelled),
        ("not_required", sdk.NotRequired),
        ("superseded", sdk.Superseded),
    ],
)
def test_every_end_without_a_yes_is_told_apart(hub, state, raised):
    request = hub.service("stripe-agent").create_request(title="May I?")
    closed_as(state, request.id, hub)

    with pytest.raises(raised) as told:
        hub.service("stripe-agent").wait_for(request.id)

    assert type(told.value) is raised
    assert told.value.request.status == state
    assert ("Too dear" in str(told.value)) == (state == "rejected")


def test_who_stops_waiting_cancels_nothing(hub):
    hitl = hub.service("stripe-agent")
    request = hitl.create_request(title="Slow")

    with pytest.raises(TimeoutError, match="stays open"):
        hitl.wait_for(request, timeout=1)

    assert hitl.get_request(request.id).status == "pending"


def test_an_agent_that_is_started_again_finds_its_open_question_and_its_answer(hub):
    def start() -> Any:
        """What a program does when it begins, which knows nothing of its earlier life."""
        hitl = HITLService(sdk.Client(hub.url, hub.tokens["stripe-agent"]))
        return hitl.create_request(title="May the workflow go on?", workflow_id="wf-7", context={"step": 3})

    first, again = start(), start()
    assert (first.duplicate, again.duplicate) == (False, True)
    assert again.id == first.id
    (found,) = hub.service("stripe-agent").list_requests(workflow_id="wf-7")
    assert found.id == first.id
    hub.service("test-user").fulfill_request(first.id)

    assert hub.service("stripe-agent").wait_for(again).status == "fulfilled"
    assert [*Entry.objects.filter(request_id=first.id).order_by("id").values_list("action", flat=True)] == [
        "hitl.request.created",
        "hitl.request.repeated",
        "hitl.request.fulfilled",
    ]


def test_the_same_key_is_the_same_request_even_when_it_is_answered_already(hub):
    def ask() -> Any:
        return hub.service("stripe-agent").create_request(title="Once", idempotency_key="once-for-all")

    first = ask()
    hub.service("test-user").fulfill_request(first.id)

    assert ask().id == first.id
    assert ActionRequest.objects.count() == 1


def test_agents_that_start_at_once_ask_one_question_once(hub):
    def ask(_: int) -> Any:
        hitl = HITLService(sdk.Client(hub.url, hub.tokens["stripe-agent"]))
        return hitl.create_request(title="Only one of us", workflow_id="wf-8")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(12)))

    assert len({each.id for each in answers}) == 1
    assert sorted(each.duplicate for each in answers) == [False] + [True] * 11


def test_a_page_hears_the_same_events(hub):
    """As its own page does: by type, with the title to show."""
    end = json.loads(
        httpx2.get(
            f"{hub.url}/acts/events?after=now",
            headers={"Authorization": f"Bearer {hub.tokens['overseer']}"},
            trust_env=False,
        ).text
    )["after"]
    hub.service("stripe-agent").create_request(title="Look here")
    stream = hub.service("overseer").events("hitl.request.created", after=end)

    assert next(stream).data["title"] == "Look here"
