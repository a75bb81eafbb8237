# SPDX-License-Identifier: Apache-2.0
"""A call reaches the hosts the operator listed, at the address that was checked, and nothing else."""

from __future__ import annotations

import ipaddress
import socket
import time
from dataclasses import replace

import pytest

from playbooks.outbound import (
    MAX_ANSWER_BYTES,
    AnswerUnusable,
    NotAllowed,
    Outgoing,
    ServiceTimeout,
    ServiceUnreachable,
    Timeouts,
    checked_url,
    is_public,
    send,
)
from tests.playbooks.loopback import certificate_for, listening, speaking

NAME = "licences.example"
TIMES = Timeouts(connect=5, read=5, total=10)


def to_loopback(host, port):
    return ["127.0.0.1"]


def outgoing(url: str, **changes) -> Outgoing:
    return replace(Outgoing("POST", url, {"X-Office": "BIS"}, b'{"licence": 123}', TIMES), **changes)


@pytest.fixture
def service():
    with listening() as service:
        yield service


# Which addresses ------------------------------------------------------------------------------------------

LISTED = frozenset({(NAME, None), ("cms.internal", 8080), ("::1", 9000)})


@pytest.mark.parametrize(
    "url",
    [
        f"https://{NAME}/publish",
        f"https://{NAME.upper()}:8443/publish?version=2",
        "http://cms.internal:8080/",
        "https://cms.internal:8080/",
        "http://[::1]:9000/",
    ],
)
def test_a_listed_host_may_be_called(url):
    assert checked_url(url, LISTED).host in {NAME, "cms.internal", "::1"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://elsewhere.example/", "not on the list"),
        (f"https://{NAME}.evil.example/", "not on the list"),
        (f"https://evil.{NAME}/", "not on the list"),
        (f"https://{NAME}./", "not on the list"),
        ("http://cms.internal/", "not on the list"),
        ("http://cms.internal:8081/", "not on the list"),
        ("https://2130706433/", "not on the list"),
        ("https://0x7f.1/", "not on the list"),
        (f"http://{NAME}/", "Plain http"),
        (f"ftp://{NAME}/", "must begin with https://"),
        ("file:///etc/passwd", "no host"),
        (f"{NAME}/publish", "no host"),
        ("", "no host"),
        (f"https://user:word@{NAME}/", "no user, no password"),
        (f"https://{NAME}@evil.example/", "no user, no password"),
        (f"https://{NAME}/#there", "no fragment"),
        (f"https://{NAME}\\@evil.example/", "plain ASCII"),
        (f"https://{NAME} /", "plain ASCII"),
        (f"https://{NAME}/\r\nHost: evil.example", "plain ASCII"),
        ("https://l\u0131cences.example/", "plain ASCII"),
        (f"https://{NAME}:0/", "port that does not exist"),
        (f"https://{NAME}:99999/", "port that does not exist"),
        ("https://999.1.1.1/", "not an address"),
        ("https://0177.0.0.1/", "not an address"),
        (f"https://{NAME}/{'x' * 500}", "at most 500"),
    ],
)
def test_any_other_address_is_refused_with_the_reason(url, reason):
    with pytest.raises(NotAllowed, match=reason):
        checked_url(url, LISTED)


NOT_PUBLIC = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808",
    "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:53aa:64c::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1",
    "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_the_public_internet_is_known_for_it(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"])
def test_what_is_the_public_internet_is_known_for_it(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_name_that_stands_for_an_address_that_is_not_public_is_not_called(address):
    with pytest.raises(NotAllowed, match="nothing was sent"):
        send(outgoing(f"https://{NAME}/"), hosts=LISTED, resolve=lambda host, port: [address])


def test_one_address_of_several_that_is_not_public_is_enough_to_refuse(service):
    hosts = frozenset({(NAME, None)})
    url = f"https://{NAME}:{service.port}/"

    with pytest.raises(NotAllowed, match="list it with its port"):
        send(outgoing(url), hosts=hosts, resolve=lambda host, port: ["8.8.8.8", "127.0.0.1"])

    assert service.heard == []


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "255.255.255.255"])
def test_even_a_host_that_may_be_private_is_not_called_where_machines_keep_their_credentials(address):
    with pytest.raises(NotAllowed, match="nothing was sent"):
        send(outgoing("http://cms.internal:8080/"), hosts=LISTED, resolve=lambda host, port: [address])


# The call -------------------------------------------------------------------------------------------------


def test_a_private_host_listed_with_its_port_is_called(service):
    service.says(201, {"published": True}, X_Trace="7")

    answer = send(outgoing(f"{service.url}/publish?x=1"), hosts=frozenset({("127.0.0.1", service.port)}))

    assert (answer.status, answer.body, answer.headers["x-trace"]) == (201, b'{"published": true}', "7")
    (heard,) = service.heard
    assert (heard.method, heard.path, heard.json) == ("POST", "/publish?x=1", {"licence": 123})
    assert heard.headers["x-office"] == "BIS"
    assert heard.headers["accept-encoding"] == "identity"


def test_the_name_is_looked_up_once_and_the_call_goes_where_it_was_checked_to_go(service):
    answers = iter([["127.0.0.1"], ["8.8.8.8"]])
    asked = []

    def changing(host, port):
        asked.append((host, port))
        return next(answers)

    hosts = frozenset({(NAME, service.port)})
    send(outgoing(f"http://{NAME}:{service.port}/"), hosts=hosts, resolve=changing)

    assert asked == [(NAME, service.port)]
    assert service.heard[0].headers["host"] == f"{NAME}:{service.port}"


def test_tls_asks_for_the_name_and_believes_only_a_certificate_for_it(tmp_path):
    trust = certificate_for(NAME, tmp_path / "service.pem")
    with listening(tmp_path / "service.pem") as service:
        hosts = frozenset({(NAME, service.port), ("other.example", service.port)})
        answer = send(outgoing(f"https://{NAME}:{service.port}/"), hosts=hosts, resolve=to_loopback, trust=trust)
        with pytest.raises(ServiceUnreachable, match="certificate"):
            send(outgoing(f"https://other.example:{service.port}/"), hosts=hosts, resolve=to_loopback, trust=trust)
        with pytest.raises(ServiceUnreachable, match="certificate"):
            send(outgoing(f"https://{NAME}:{service.port}/"), hosts=hosts, resolve=to_loopback)

    assert answer.status == 200
    assert service.server_names == [NAME, "other.example", NAME]
    assert [heard.headers["host"] for heard in service.heard] == [f"{NAME}:{service.port}"]


def test_the_next_address_is_tried_when_one_is_deaf(service):
    send(
        outgoing(f"http://{NAME}:{service.port}/"),
        hosts=frozenset({(NAME, service.port)}),
        resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"],  # nobody listens at the first
    )

    assert len(service.heard) == 1


def test_a_redirect_is_an_answer_and_is_not_followed(service):
    service.says(302, Location=f"{service.url}/elsewhere")

    answer = send(outgoing(f"{service.url}/publish"), hosts=frozenset({("127.0.0.1", service.port)}))

    assert answer.status == 302
    assert [heard.path for heard in service.heard] == ["/publish"]


def test_no_proxy_of_the_environment_comes_in_between(service, monkeypatch):
    with listening() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        send(outgoing(f"{service.url}/"), hosts=frozenset({("127.0.0.1", service.port)}))

    assert len(service.heard) == 1
    assert proxy.heard == []


# What goes wrong ------------------------------------------------------------------------------------------


def test_a_name_that_nobody_knows_is_a_fault_that_may_pass():
    def unknown(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(ServiceUnreachable, match="could not be looked up"):
        send(outgoing(f"https://{NAME}/"), hosts=LISTED, resolve=unknown)
    with pytest.raises(ServiceUnreachable, match="stands for no address"):
        send(outgoing(f"https://{NAME}/"), hosts=LISTED, resolve=lambda host, port: [])


def test_a_port_where_nobody_listens_is_a_fault_that_may_pass():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]

    with pytest.raises(ServiceUnreachable, match="could not be reached"):
        send(outgoing(f"http://127.0.0.1:{port}/"), hosts=frozenset({("127.0.0.1", port)}))


def test_a_connection_that_breaks_is_a_fault_that_may_pass():
    with speaking(lambda connection: connection.recv(65536)) as port, pytest.raises(ServiceUnreachable):
        send(outgoing(f"http://127.0.0.1:{port}/"), hosts=frozenset({("127.0.0.1", port)}))


def test_an_answer_that_is_not_http_is_a_fault_that_may_pass():
    def greet(connection):
        connection.recv(65536)
        connection.sendall(b"220 mail.example ESMTP\r\n")

    with speaking(greet) as port, pytest.raises(ServiceUnreachable):
        send(outgoing(f"http://127.0.0.1:{port}/"), hosts=frozenset({("127.0.0.1", port)}))


@pytest.mark.parametrize("times", [replace(TIMES, read=0.2), replace(TIMES, read=9, total=0.2)])
def test_a_service_that_says_nothing_is_waited_for_as_long_as_allowed(times):
    def mute(connection):
        while connection.recv(65536):
            continue

    began = time.monotonic()
    with speaking(mute) as port, pytest.raises(ServiceTimeout):
        send(outgoing(f"http://127.0.0.1:{port}/", timeouts=times), hosts=frozenset({("127.0.0.1", port)}))
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_a_service_that_keeps_dripping_is_cut_off_when_the_whole_time_is_over(start):
    def drip(connection):
        connection.recv(65536)
        connection.sendall(start)
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    began = time.monotonic()
    times = Timeouts(connect=5, read=5, total=0.5)
    with speaking(drip) as port, pytest.raises(ServiceTimeout, match=r"whole call|timed out"):
        send(outgoing(f"http://127.0.0.1:{port}/", timeouts=times), hosts=frozenset({("127.0.0.1", port)}))
    assert time.monotonic() - began < 4, "each piece came in time; all of them together did not"


@pytest.mark.parametrize("body", [b"x" * (MAX_ANSWER_BYTES + 1)])
def test_an_answer_beyond_the_size_is_not_kept(service, body):
    service.says(200, body)

    with pytest.raises(AnswerUnusable, match="larger than"):
        send(outgoing(f"{service.url}/"), hosts=frozenset({("127.0.0.1", service.port)}))


def test_an_answer_of_just_the_size_is_read(service):
    service.says(200, b"x" * MAX_ANSWER_BYTES)

    answer = send(outgoing(f"{service.url}/"), hosts=frozenset({("127.0.0.1", service.port)}))

    assert len(answer.body) == MAX_ANSWER_BYTES


def test_a_compressed_answer_is_not_unfolded(service):
    service.says(200, b"\x1f\x8b", Content_Encoding="gzip")

    with pytest.raises(AnswerUnusable, match="compressed"):
        send(outgoing(f"{service.url}/"), hosts=frozenset({("127.0.0.1", service.port)}))
