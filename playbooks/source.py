# SPDX-License-Identifier: Apache-2.0
"""From text, or data already read, to plain values of which we know the lines and that have bounds.

JSON, YAML and parsed bodies all become the same events, and one builder turns events into values; so the limits
below hold for all three. What it lets through is what JSON, PostgreSQL and RFC 8785 keep exactly: no NUL, no lone
surrogate, no number beyond 2^53 - 1, no duplicate key. It knows nothing of playbooks.

YAML is read narrowly. A plain word is `null`, `true`, `false`, a number as JSON writes it, or text: `no`, `on`,
`007` and `2024-06-01` are text. Anchors, aliases and tags are refused, for they can hide or multiply content.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain
from typing import Any, NamedTuple

import yaml

from config.errors import Problem, Unparseable
from playbooks.places import Path, path_text, shown

try:  # libyaml is in every wheel; the reader in pure Python serves where PyYAML was built without it
    from yaml import CSafeLoader as YamlReader
except ImportError:
    from yaml import SafeLoader as YamlReader  # type: ignore[assignment]

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_KEYS = 10_000
MAX_VALUES = 100_000
MAX_INTEGER = 2**53 - 1  # RFC 7493: what every JSON reader keeps exactly
MAX_PROBLEMS = 50

SPLIT_REMEDY = "Split the playbook, or keep large data outside of it."


@dataclass(frozen=True, slots=True)
class Source:
    data: Any
    lines: Mapping[Path, int]  # empty for data that never was text
    notes: tuple[str, ...] = ()

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


class Kind(Enum):
    MAPPING = auto()
    LIST = auto()
    END = auto()
    SCALAR = auto()


class Event(NamedTuple):
    kind: Kind
    line: int | None = None
    value: Any = None


def read(text: str | bytes) -> Source:
    """The values of a JSON or YAML text. Raises Unparseable with every fault found, each with its line."""
    text = _decoded(text)
    notes: list[str] = []
    wrong_json = _json_fault(text)
    if wrong_json is None:
        return _build(_json_events(text), notes)
    try:
        return _build(_yaml_events(text, notes), notes)
    except yaml.YAMLError as error:
        looks_like_json = text.lstrip()[:1] in ("{", "[")
        raise _unparseable(wrong_json if looks_like_json else _yaml_fault(error, text))
    except (ValueError, OverflowError) as error:  # the reader in pure Python, on an escape beyond Unicode
        raise _unparseable(Problem("", f"This is not YAML: {error}."))


def check(data: Any) -> Source:
    """The same bounds for data that is parsed already; the result is a copy."""
    return _build(_data_events(data), [])


def _unparseable(*problems: Problem) -> Unparseable:
    return Unparseable("The document cannot be read.", errors=problems)


def _decoded(text: str | bytes) -> str:
    """The text with `\\n` for every line end. Raises Unparseable."""
    try:
        raw = text.encode() if isinstance(text, str) else text
        decoded = raw.decode("utf-8-sig")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        before = error.object[: error.start]
        line = 1 + (before.count(b"\n") if isinstance(before, bytes) else before.count("\n"))
        message = "The text is not valid UTF-8: it is in another encoding, or holds half a surrogate pair."
        raise _unparseable(Problem("", message, "Save it as UTF-8.", line))
    if len(raw) > MAX_BYTES:
        raise _unparseable(Problem("", f"The document is larger than {MAX_BYTES} bytes.", SPLIT_REMEDY))
    if "\0" in decoded:
        line = 1 + decoded[: decoded.index("\0")].count("\n")
        raise _unparseable(Problem("", "The text holds the character NUL.", "Remove it.", line))
    return decoded.replace("\r\n", "\n").replace("\r", "\n")


# --- JSON -----------------------------------------------------------------------------------------

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]|[^\s{}\[\],:"]+')
_JSON_WORDS = {"true": True, "false": False, "null": None}
_JSON_WORDS_REFUSED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _json_fault(text: str) -> Problem | None:
    """Why the text is not JSON, or None if it is."""
    try:
        # Only the grammar is judged here. Integers go to float because int() refuses more than 4,300 digits
        # with an error of its own; the events below read each number again.
        json.loads(text, parse_int=float)
    except json.JSONDecodeError as error:
        message = f"This is not JSON: {error.msg}, at column {error.colno}."
        return Problem("", message, "Look for a missing comma, quote or bracket just before it.", error.lineno)
    except RecursionError:
        raise _unparseable(_too_deep(None))
    return None


def _json_events(text: str) -> Iterator[Event]:
    """The events of a text that is JSON, which is why single tokens can be trusted here."""
    line, counted = 1, 0
    for match in _TOKEN.finditer(text):
        line, counted = line + text.count("\n", counted, match.start()), match.start()
        token = match.group()
        if token == "{":
            yield Event(Kind.MAPPING, line)
        elif token == "[":
            yield Event(Kind.LIST, line)
        elif token in "}]":
            yield Event(Kind.END, line)
        else:
            yield Event(Kind.SCALAR, line, _json_scalar(token))


def _json_scalar(token: str) -> Any:
    if token.startswith('"'):
        return json.loads(token)
    if token in _JSON_WORDS:
        return _JSON_WORDS[token]
    return _JSON_WORDS_REFUSED[token] if token in _JSON_WORDS_REFUSED else _number(token)


def _number(text: str) -> int | float:
    """A number of JSON's grammar; an integer of 18 digits or more as a float, which the builder then refuses."""
    if len(text) < 18 and text.lstrip("-").isdecimal():
        return int(text)
    return float(text)


# --- YAML -----------------------------------------------------------------------------------------

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?(?:\.inf|\.Inf|\.INF|Infinity)|\.nan|\.NaN|\.NAN|NaN")
_YAML_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def _yaml_events(text: str, notes: list[str]) -> Iterator[Event]:
    documents = 0
    for event in yaml.parse(text, Loader=YamlReader):
        assert event.start_mark is not None
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                problem = Problem("", "The text holds a second document.", "Send one document at a time.", line)
                raise _unparseable(problem)
        elif isinstance(event, yaml.CollectionEndEvent):
            yield Event(Kind.END, line)
        elif isinstance(event, yaml.NodeEvent):
            _refuse_hidden(event, line)
            yield _node_event(event, line, notes)


def _refuse_hidden(event: yaml.NodeEvent, line: int) -> None:
    is_alias = isinstance(event, yaml.AliasEvent)
    if is_alias or event.anchor is not None:
        sign, noun = ("*", "alias") if is_alias else ("&", "anchor")
        message = f"The YAML {noun} `{sign}{event.anchor}` is not allowed."
        raise _unparseable(Problem("", message, "Write the value out in each place.", line))
    tag = getattr(event, "tag", None)
    if tag is not None:
        message = f"The YAML tag `{tag}` is not allowed."
        raise _unparseable(Problem("", message, "Remove it; put a value in quotes to make it text.", line))


def _node_event(event: yaml.NodeEvent, line: int, notes: list[str]) -> Event:
    if isinstance(event, yaml.MappingStartEvent):
        return Event(Kind.MAPPING, line)
    if isinstance(event, yaml.SequenceStartEvent):
        return Event(Kind.LIST, line)
    assert isinstance(event, yaml.ScalarEvent)
    is_plain = event.implicit[0]
    return Event(Kind.SCALAR, line, _plain_scalar(event.value, line, notes) if is_plain else event.value)


def _plain_scalar(text: str, line: int, notes: list[str]) -> Any:
    if text in _YAML_WORDS:
        return _YAML_WORDS[text]
    if _NOT_FINITE.fullmatch(text):
        return math.nan
    if not _NUMBER.fullmatch(text):
        return text
    number = _number(text)
    if "." in text and math.isfinite(number) and repr(number) != text and "e" not in text.lower():
        notes.append(f"Line {line}: {text} was read as the number {number!r}. In quotes it stays as written.")
    return number


def _yaml_fault(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        code = error.character if isinstance(error.character, int) else ord(error.character)
        line = 1 + text.partition(chr(code))[0].count("\n")
        message = f"The text holds the control character U+{code:04X}."
        return Problem("", message, "Remove it, or write it as an escape within double quotes.", line)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = getattr(error, "problem", None) or str(error)
    message = f"This is not YAML: {reason}."
    remedy = "Look at the indentation, and for a missing quote, colon or bracket, here and in the line before."
    return Problem("", message, remedy, mark.line + 1 if mark else None)


# --- Data that is parsed already ------------------------------------------------------------------

_NO_MORE = object()


def _data_events(data: Any) -> Iterator[Event]:
    pending: list[Iterator[Any]] = [iter((data,))]
    while pending:
        item = next(pending[-1], _NO_MORE)
        if item is _NO_MORE:
            pending.pop()
            if pending:
                yield Event(Kind.END)
        elif isinstance(item, Mapping):
            yield Event(Kind.MAPPING)
            pending.append(chain.from_iterable(item.items()))
        elif isinstance(item, list | tuple):
            yield Event(Kind.LIST)
            pending.append(iter(item))
        else:
            yield Event(Kind.SCALAR, None, item)


# --- The builder ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open; `key` is the mapping's key that waits for its value."""

    into: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None

    @property
    def wants_key(self) -> bool:
        return isinstance(self.into, dict) and self.key is None

    def next_path(self) -> Path:
        return (*self.path, len(self.into) if isinstance(self.into, list) else self.key or "")

    def put(self, value: Any) -> None:
        if isinstance(self.into, list):
            self.into.append(value)
        else:
            self.into[self.key or ""], self.key = value, None


class _Builder:
    """Turns events into values. Counts as it goes, so that hostile input is dropped before it is built."""

    def __init__(self) -> None:
        self.data: Any = None
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._open: list[_Frame] = []
        self._keys = 0
        self._values = 0

    def take(self, event: Event) -> None:
        if event.kind is Kind.END:
            self._open.pop()
        elif self._open and self._open[-1].wants_key:
            self._take_key(self._open[-1], event)
        else:
            self._take_value(event)
        if len(self.problems) >= MAX_PROBLEMS:
            raise _unparseable(*self.problems)

    def _take_key(self, frame: _Frame, event: Event) -> None:
        key = self._key_of(frame, event)
        path = (*frame.path, key)
        if key in frame.into:
            first = f", first in line {self.lines[path]}" if path in self.lines else ""
            message = f"The key {shown(key)} stands here twice{first}."
            self._report(path, event, message, "Keep one of the two.")
        self._keys += 1
        if self._keys > MAX_KEYS:
            raise _unparseable(Problem("", f"The document has more than {MAX_KEYS} keys.", SPLIT_REMEDY, event.line))
        self._locate(path, event)
        frame.key = key

    def _key_of(self, frame: _Frame, event: Event) -> str:
        if event.kind is not Kind.SCALAR:
            path = path_text(frame.path)
            message = "A mapping or list stands where a key is expected."
            raise _unparseable(Problem(path, message, "Keys are text. Look at the brackets.", event.line))
        if isinstance(event.value, str):
            self._check_text((*frame.path, event.value), event)
            return event.value
        written = shown(event.value)
        self._report(frame.path, event, f"The key {written} is not text.", f'Put it in quotes: "{written}".')
        return written

    def _take_value(self, event: Event) -> None:
        path: Path = self._open[-1].next_path() if self._open else ()
        self._values += 1
        if self._values > MAX_VALUES:
            raise _unparseable(
                Problem("", f"The document has more than {MAX_VALUES} values.", SPLIT_REMEDY, event.line)
            )
        if path not in self.lines:  # a key has given its line already
            self._locate(path, event)
        value: Any = event.value
        if event.kind is Kind.SCALAR:
            self._check_scalar(path, event)
        else:
            value = {} if event.kind is Kind.MAPPING else []
        if self._open:
            self._open[-1].put(value)
        else:
            self.data = value
        if event.kind is not Kind.SCALAR:
            self._open.append(_Frame(value, path))
            if len(self._open) > MAX_DEPTH:
                raise _unparseable(_too_deep(event.line))

    def _check_scalar(self, path: Path, event: Event) -> None:
        value = event.value
        if isinstance(value, str):
            self._check_text(path, event)
        elif isinstance(value, bool) or value is None:
            return
        elif not isinstance(value, int | float):
            kind = type(value).__name__
            self._report(path, event, f"A value of type {kind} is not JSON.", "Use text, numbers, true, false or null.")
        elif isinstance(value, float) and not math.isfinite(value):
            message = "The number is infinite or not a number, which JSON cannot say."
            self._report(path, event, message, "Use a finite number, or put it in quotes to make it text.")
        elif abs(value) > MAX_INTEGER:
            message = f"The number is beyond {MAX_INTEGER} (2^53 - 1), which not every reader keeps exactly."
            self._report(path, event, message, "Put it in quotes to make it text.")

    def _check_text(self, path: Path, event: Event) -> None:
        if "\0" in event.value:
            self._report(path, event, "The text holds the character NUL, which databases refuse.", "Remove it.")
        elif not _is_unicode(event.value):
            message = "The text holds half a surrogate pair, which is no character."
            self._report(path, event, message, "Remove it, or write the whole pair.")

    def _report(self, path: Path, event: Event, message: str, remedy: str) -> None:
        self.problems.append(Problem(path_text(path), message, remedy, event.line))

    def _locate(self, path: Path, event: Event) -> None:
        if event.line is not None:
            self.lines[path] = event.line


def _build(events: Iterable[Event], notes: list[str]) -> Source:
    builder = _Builder()
    empty = True
    for event in events:
        empty = False
        builder.take(event)
    if empty:
        raise _unparseable(Problem("", "The document is empty.", "Send a playbook as JSON or YAML."))
    if builder.problems:
        raise _unparseable(*builder.problems)
    return Source(builder.data, builder.lines, tuple(notes))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep(line: int | None) -> Problem:
    return Problem("", f"The document is nested deeper than {MAX_DEPTH} levels.", SPLIT_REMEDY, line)
