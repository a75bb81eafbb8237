# SPDX-License-Identifier: Apache-2.0
"""A service on this machine for connectors to call: it answers as it is told and remembers what it heard."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Heard:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


# What a service that thinks answers: status and JSON; None: it hangs up without a word.
Think = Callable[[Heard], tuple[int, Any] | None]


@dataclass
class Service:
    """`says` is what it answers next and from then on, unless it thinks for itself."""

    think: Think | None = None
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)  # what TLS was asked for
    port: int = 0

    def says(self, status: int = 200, body: Any = None, /, **headers: str) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        heard = Heard(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self.service.heard.append(heard)
        if self.service.think is not None:
            thought = self.service.think(heard)
            if thought is None:
                self.close_connection = True
                return
            self.service.says(*thought)
        self.send_response(self.service.status)
        for name, value in {"Content-Length": str(len(self.service.body)), **self.service.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.service.body)

    do_POST = do_PUT = do_PATCH = do_GET = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: what it heard is in `heard`."""


@contextmanager
def listening(certificate: Path | None = None, think: Think | None = None) -> Iterator[Service]:
    """A running service; with a certificate (its file, key included) it speaks TLS."""
    service = Service(think)
    handler = type("Handler", (_Handler,), {"service": service})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            context.sni_callback = lambda _socket, name, _context: service.server_names.append(name)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  a client that hangs up is no fault here
        server.daemon_threads = True
        service.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join(10)


@contextmanager
def speaking(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that does with its first connection what `talk` says, byte for byte."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return  # nobody came
            with connection:
                try:
                    talk(connection)
                except OSError:
                    return  # the caller has hung up, as it should

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def certificate_for(name: str, file: Path) -> ssl.SSLContext:
    """Write a certificate of its own for the name, with its key; the context that trusts it and no other."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + public)
    return ssl.create_default_context(cadata=public.decode())
