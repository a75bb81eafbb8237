# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the city's payment system, on this machine: it charges once per idempotency key, and says so.

    python -m demo.fee_service --state var/fee_service.sqlite3 --port 0

- `POST /charges` `{amount, currency, reference}` with `Idempotency-Key` → 201 with `charge_id`. The same key again
  → 200 and the same charge. Another body under a known key → 422.
- `GET /charges` → all charges, oldest first.
- `POST /faults` `{"times": n, "kind": …}` lets the next n charges go wrong: `down` answers 503 and charges nothing,
  `busy` answers 429, `lost` charges and then breaks the connection, `declined` answers 402.

Charges survive a restart. The address is printed as the first line.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MAX_BODY_BYTES = 16 * 1024
FAULTS = ("down", "busy", "lost", "declined")
AMOUNT = re.compile(r"\d{1,9}(\.\d{1,2})?", re.ASCII)
CURRENCY = re.compile(r"[A-Z]{3}")

SCHEMA = """
CREATE TABLE IF NOT EXISTS charge (
    idempotency_key TEXT PRIMARY KEY,
    charge_id TEXT NOT NULL UNIQUE,
    amount TEXT NOT NULL,
    currency TEXT NOT NULL,
    reference TEXT NOT NULL,
    charged_at TEXT NOT NULL
)
"""
COLUMNS = "charge_id, amount, currency, reference, charged_at"


@dataclass(frozen=True, slots=True)
class Order:
    amount: str
    currency: str
    reference: str

    @classmethod
    def read(cls, body: Any) -> Order:
        """Raises ValueError with the reason."""
        if not isinstance(body, dict) or set(body) != {"amount", "currency", "reference"}:
            raise ValueError("send exactly amount, currency and reference")
        if not all(isinstance(value, str) and 0 < len(value) <= 200 for value in body.values()):
            raise ValueError("amount, currency and reference are texts")
        if not AMOUNT.fullmatch(body["amount"]) or Decimal(body["amount"]) == 0:
            raise ValueError("amount is a number above zero with at most two places")
        if not CURRENCY.fullmatch(body["currency"]):
            raise ValueError("currency is three capital letters")
        return cls(f"{Decimal(body['amount']):.2f}", body["currency"], body["reference"])


class OtherContent(Exception):
    """The key stands for a charge with another content."""


class Ledger:
    """The charges. The table's primary key, and not this program's care, makes a second charge impossible."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with closing(self._open()) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(SCHEMA)

    def charge(self, key: str, order: Order) -> tuple[dict[str, str], bool]:
        """The charge under this key, and whether it was made just now. Raises OtherContent."""
        charge_id = f"ch_{secrets.token_hex(8)}"
        row = (key, charge_id, order.amount, order.currency, order.reference, datetime.now(UTC).isoformat())
        with closing(self._open()) as database:
            made = database.execute("INSERT INTO charge VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
            found = self._select(database, "WHERE idempotency_key = ?", key)[0]
        if (found["amount"], found["currency"], found["reference"]) != (order.amount, order.currency, order.reference):
            raise OtherContent
        return found, made.rowcount == 1

    def all(self) -> list[dict[str, str]]:
        with closing(self._open()) as database:
            return self._select(database, "ORDER BY rowid")

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=10, isolation_level=None)

    @staticmethod
    def _select(database: sqlite3.Connection, clause: str, *values: str) -> list[dict[str, str]]:
        rows = database.execute(f"SELECT {COLUMNS} FROM charge {clause}", values)  # noqa: S608  words of ours
        return [dict(zip(COLUMNS.split(", "), row, strict=True)) for row in rows]


class FeeServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, ledger: Ledger, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.ledger = ledger
        self._faults: list[str] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add_faults(self, kind: str, times: int) -> None:
        with self._lock:
            self._faults += [kind] * times

    def next_fault(self) -> str:
        with self._lock:
            return self._faults.pop(0) if self._faults else ""


class Handler(BaseHTTPRequestHandler):
    server: FeeServer
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds a silent connection is kept

    def do_GET(self) -> None:
        if self.path != "/charges":
            return self._answer(404, {"error": "there is /charges"})
        return self._answer(200, {"charges": self.server.ledger.all()})

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/charges":
            return self._charge(body)
        if self.path == "/faults":
            return self._prepare_faults(body)
        return self._answer(404, {"error": "there is /charges"})

    def _charge(self, body: Any) -> None:
        key = self.headers.get("Idempotency-Key", "").strip()
        if not 1 <= len(key) <= 255:
            return self._answer(400, {"error": "Idempotency-Key is missing"})
        try:
            order = Order.read(body)
        except ValueError as reason:
            return self._answer(400, {"error": str(reason)})
        match fault := self.server.next_fault():
            case "down":
                return self._answer(503, {"error": "closed for a moment"})
            case "busy":
                return self._answer(429, {"error": "too many at once"})
            case "declined":
                return self._answer(402, {"error": "the bank declined the charge"})
        try:
            charge, made = self.server.ledger.charge(key, order)
        except OtherContent:
            return self._answer(422, {"error": "this key stands for a charge with other content"})
        if fault == "lost":
            self.close_connection = True  # charged, and nobody hears of it
            return None
        return self._answer(201 if made else 200, charge)

    def _prepare_faults(self, body: Any) -> None:
        kind, times = (body.get("kind", "down"), body.get("times")) if isinstance(body, dict) else ("", 0)
        if kind not in FAULTS or not isinstance(times, int) or not 0 < times <= 100:
            return self._answer(400, {"error": f"send times (1 to 100) and kind, one of {', '.join(FAULTS)}"})
        self.server.add_faults(kind, times)
        return self._answer(200, {"kind": kind, "times": times})

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            return None
        try:
            return json.loads(self.rfile.read(int(length)))
        except ValueError:
            return None

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: what was charged stands at GET /charges, and why in the action log."""


def main() -> int:
    parser = argparse.ArgumentParser(description="A stand-in for a payment system, on this machine.")
    parser.add_argument("--state", type=Path, required=True, help="the SQLite file of the charges")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    given = parser.parse_args()
    server = FeeServer(Ledger(given.state), given.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(server.url, flush=True)
    with server:
        server.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
