# SPDX-License-Identifier: Apache-2.0
"""Calls to other hosts, such that nobody who names an address can make us reach one that they should not.

- Only hosts that the operator listed are called: by https, at public addresses. An entry with a port
  (`licences.internal:8080`) also allows plain http and private addresses, at that port alone.
- The host's name is looked up once; if any answer is not allowed, nothing is sent. The connection goes to the
  very address that was checked, while TLS and `Host` carry the name.
- No redirect is followed, no proxy of the environment is used, no user or password stands in an address.
- An answer has a size, and the whole call a time, that it cannot exceed.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore2
import httpx2

from config.api import MAX_BODY_BYTES
from playbooks.catalogue import Permanent

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Hosts = frozenset[tuple[str, int | None]]  # (name, port); without a port: https at public addresses
Resolver = Callable[[str, int], Sequence[str]]  # (host, port) → addresses

PORTS = {"https": 443, "http": 80}
MAX_ANSWER_BYTES = MAX_BODY_BYTES
MAX_URL = 500
PIECE = 16 * 1024  # bytes written before the time is looked at again

# IANA's special-purpose registries: what is not the public Internet. Of IPv6, only 2000::/3 is public at all.
NOT_PUBLIC = tuple(
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip
GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
# What a host that may be private may have beside public addresses. Link-local is not among them: that is where
# machines in a data centre find the credentials of their host.
PRIVATE = tuple(
    ipaddress.ip_network(block)
    for block in (
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7",
    )
)  # fmt: skip


class NotAllowed(Permanent):
    """The address is not one that may be called."""


class ServiceUnreachable(Exception):
    """No answer came. Whether the service heard the call is unknown."""


class ServiceTimeout(ServiceUnreachable):
    """No answer came in time. Whether the service acted is unknown."""


class AnswerUnusable(Permanent):
    """The service answered with something that cannot be kept. What it did, it did."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds."""

    connect: float
    read: float
    total: float


@dataclass(frozen=True, slots=True)
class Outgoing:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


# Where a call may go --------------------------------------------------------------------------------------


def checked_url(url: str, hosts: Hosts) -> httpx2.URL:
    """The address, if its text alone allows to call it. Raises NotAllowed with the reason."""
    parsed = _parsed(url)
    if parsed.scheme not in PORTS:
        raise NotAllowed("The address must begin with https://.")
    if parsed.userinfo or parsed.fragment:
        raise NotAllowed("An address holds no user, no password and no fragment (#…).")
    host, port = parsed.host, _port(parsed)
    if (host, port) in hosts:
        return parsed
    if (host, None) not in hosts:
        raise NotAllowed(f"The host {host}:{port} is not on the list of HMS_ACT_CONNECTOR_HOSTS: the operator adds it.")
    if parsed.scheme != "https":
        raise NotAllowed(f"Plain http is for hosts that HMS_ACT_CONNECTOR_HOSTS lists with their port: {host}:{port}.")
    return parsed


def _parsed(url: str) -> httpx2.URL:
    # Characters on which readers of addresses disagree never stand in an honest one.
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}'):
        raise NotAllowed(f"An address has at most {MAX_URL} characters, plain ASCII without spaces or backslashes.")
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as fault:
        raise NotAllowed(f"That is not an address: {fault}.")
    if not parsed.host or not 0 < _port(parsed) < 2**16:
        raise NotAllowed("The address names no host, or a port that does not exist.")
    return parsed


def _port(url: httpx2.URL) -> int:
    return PORTS.get(url.scheme, 443) if url.port is None else url.port


def is_public(address: Address) -> bool:
    if address.version == 6 and address not in GLOBAL_IPV6:
        return False  # mapped, translated (NAT64), local, multicast …
    return not any(address in block for block in NOT_PUBLIC)


def is_private(address: Address) -> bool:
    return any(address in block for block in PRIVATE)


def system_resolver(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def checked_addresses(url: httpx2.URL, hosts: Hosts, resolve: Resolver) -> list[str]:
    """What the host's name stands for, looked up once. Raises NotAllowed if any of it may not be called."""
    host, port = url.host, _port(url)
    try:
        found = list(dict.fromkeys(resolve(host, port)))
    except (OSError, UnicodeError) as fault:
        raise ServiceUnreachable(f"The name {host} could not be looked up: {fault}.")
    if not found:
        raise ServiceUnreachable(f"The name {host} stands for no address.")
    may_be_private = (host, port) in hosts
    for text in found:
        address = ipaddress.ip_address(text)
        if not is_public(address) and not (may_be_private and is_private(address)):
            raise NotAllowed(_refusal(host, port, text, is_private(address)))
    return found


def _refusal(host: str, port: int, address: str, could_be_listed: bool) -> str:
    remedy = f" If it belongs to you, list it with its port: {host}:{port}." if could_be_listed else ""
    return f"The name {host} stands for {address}, which is not a public address: nothing was sent.{remedy}"


# The call -------------------------------------------------------------------------------------------------


def send(
    outgoing: Outgoing, *, hosts: Hosts, resolve: Resolver = system_resolver, trust: ssl.SSLContext | None = None
) -> Answer:
    """Send it and read the whole answer. `trust` says whose certificates are believed: by default, the system's.

    Raises NotAllowed, ServiceUnreachable, ServiceTimeout, AnswerUnusable.
    """
    deadline = _Deadline(outgoing.timeouts.total)
    url = checked_url(outgoing.url, hosts)
    network = _Pinned(checked_addresses(url, hosts, resolve), deadline)
    if url.scheme == "https" and trust is None:
        trust = httpcore2.default_ssl_context()
    try:
        with httpcore2.ConnectionPool(ssl_context=trust, network_backend=network, max_connections=1) as pool:
            return _exchange(pool, url, outgoing)
    except httpcore2.TimeoutException as fault:
        raise ServiceTimeout(f"{url.host} did not answer in time ({str(fault) or type(fault).__name__}).")
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as fault:
        raise ServiceUnreachable(f"{url.host} could not be reached: {str(fault) or type(fault).__name__}.")


def _exchange(pool: httpcore2.ConnectionPool, url: httpx2.URL, outgoing: Outgoing) -> Answer:
    target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    headers = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", **outgoing.headers}
    clocks = outgoing.timeouts
    extensions = {"timeout": {"connect": clocks.connect, "read": clocks.read, "write": clocks.read}}
    with pool.stream(
        outgoing.method, target, headers=list(headers.items()), content=outgoing.body, extensions=extensions
    ) as response:
        said = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return Answer(response.status, said, _body(response.iter_stream(), said))


def _body(chunks: Iterable[bytes], headers: Mapping[str, str]) -> bytes:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise AnswerUnusable("The answer is compressed, though none was asked for: a small one may unfold without end.")
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise AnswerUnusable(f"The answer is larger than {MAX_ANSWER_BYTES} bytes.")
    return bytes(body)


class _Deadline:
    """The end of the whole call, however small the pieces it comes in."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def within(self, seconds: float | None) -> float:
        left = self._at - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the time for the whole call is over")
        return left if seconds is None else min(left, seconds)


class _Pinned(httpcore2.NetworkBackend):
    """Connects to addresses that were checked, whatever the name may stand for by now."""

    def __init__(self, addresses: Sequence[str], deadline: _Deadline) -> None:
        self._addresses, self._deadline = addresses, deadline
        self._system = httpcore2.SyncBackend()

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        for address in self._addresses[:-1]:
            try:
                return self._connect(address, port, timeout, *args, **kwargs)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue  # the last one's fault is the one that is told
        return self._connect(self._addresses[-1], port, timeout, *args, **kwargs)

    def _connect(self, address: str, port: int, timeout: float | None, *args: Any, **kwargs: Any) -> _Timed:
        stream = self._system.connect_tcp(address, port, self._deadline.within(timeout), *args, **kwargs)
        return _Timed(stream, self._deadline)


class _Timed(httpcore2.NetworkStream):
    """Each piece has its own time, and all of them together have the call's."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE):
            self._stream.write(buffer[start : start + PIECE], self._deadline.within(timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Timed:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.within(timeout))
        return _Timed(stream, self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
