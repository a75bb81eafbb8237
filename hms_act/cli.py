# SPDX-License-Identifier: Apache-2.0
"""`hms-act`: the shell's way to the HTTP API.

Exit codes: 0 done; 1 refused, or a run waited for did not complete; 2 wrong usage; 3 the server cannot be reached
or failed. Results go to standard output, everything else to standard error, and no error is a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import hms_act
from hms_act import commands, report_commands
from hms_act.client import DEFAULT_URL, DEFAULT_WAIT_SECONDS, Client
from hms_act.commands import DONE, REFUSED, Command, Session, Shown, UsageError
from hms_act.errors import HmsActError, ServerError, Unreachable
from hms_act.retry import Retry
from hms_act.state import State
from hms_act.text import plain

USAGE, UNREACHABLE, INTERRUPTED = 2, 3, 130
RETRY = Retry(attempts=4, maximum_interval=2.0)  # somebody is looking at the screen


def main(argv: Sequence[str] | None = None) -> int:
    try:
        args = _parser().parse_args(argv)
        shown = args.command(_session(args.url), args)
        if isinstance(shown, Shown):
            _write(json.dumps(shown.data, indent=2) if args.json else shown.text)
            return int(shown.code)
        for one in shown:  # with --json, one JSON text in a line
            _write(json.dumps(one.data) if args.json else one.text)
        return DONE
    except SystemExit as end:  # argparse: --help, or an error it has already told
        return int(end.code or DONE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the last flush would complain
        return REFUSED
    except Exception as error:
        lines, code = _account(error)
        print("\n".join(lines), file=sys.stderr)
        return code


# --- what was typed


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"hms-act: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    # Both options are heard before and after the command; there, without a default, which would undo the former.
    after = _Parser(add_help=False)
    after.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    after.add_argument("--url", default=argparse.SUPPRESS, help="the server (default: HMS_ACT_URL)")
    parser = _Parser(prog="hms-act", description="Mission control for the actions of agents, people and services.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--url", help="the server (default: HMS_ACT_URL)")
    parser.add_argument("--version", action="version", version=f"hms-act {hms_act.__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Command, help: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = subparsers.add_parser(name, help=help, description=help, parents=[after])
        added.set_defaults(command=function)
        return added

    _add_run_commands(command)
    _add_task_commands(command)
    _add_incident_commands(command)
    _add_request_commands(command)
    _add_report_commands(command)
    _add_access_commands(command)
    _add_playbook_commands(subparsers, after)
    return parser


AddCommand = Callable[[str, Command, str], argparse.ArgumentParser]


def _add_run_commands(command: AddCommand) -> None:
    adding = command("run", commands.run, "Start a run of a playbook.")
    adding.add_argument("playbook", metavar="PLAYBOOK", help="its id, or its number")
    adding.add_argument("--payload", default="{}", metavar="JSON|@FILE", help="what the run is about (@- reads stdin)")
    adding.add_argument("--version", type=int, metavar="N", help="instead of the newest published one")
    adding.add_argument("--label", type=_label, action="append", default=[], metavar="KEY=VALUE")
    adding.add_argument("--wait", action="store_true", help="until the run has ended; 1 unless it completed")
    help = "Show a run: its steps and its log; or a request: what it asks."
    adding = command("show", commands.show, help)
    adding.add_argument("what", type=_run_or_request, metavar="RUN|REQUEST")
    adding = command("signal", commands.signal, "Send a run a signal.")
    adding.add_argument("run", type=int, metavar="RUN")
    adding.add_argument("name", metavar="NAME", help="as the playbook writes it")
    adding.add_argument("--data", metavar="JSON|@FILE", help="the output of the step that waits for it")
    adding = command("terminate", commands.terminate, "End a run at once, and undo nothing.")
    adding.add_argument("run", type=int, metavar="RUN")
    adding.add_argument("--reason", required=True, help="why")


def _add_task_commands(command: AddCommand) -> None:
    adding = command("next", commands.claim, "Claim the next task of a role.")
    adding.add_argument("role", metavar="ROLE", help="such as agent:validator")
    adding.add_argument("--wait", type=int, default=DEFAULT_WAIT_SECONDS, metavar="SECONDS", help="for one to appear")
    adding = command("complete", commands.complete, "Complete a task that `next` claimed.")
    adding.add_argument("task", type=int, metavar="TASK")
    adding.add_argument("--outcome", required=True, help="PASS, FAIL, or an option of the step")
    adding.add_argument("--note", default="", help="why")
    adding.add_argument("--output", metavar="JSON|@FILE", help="what later steps see")


def _add_incident_commands(command: AddCommand) -> None:
    adding = command("incidents", commands.incidents, "List the steps that wait for an operator.")
    adding.add_argument("--run", type=int, metavar="RUN", help="of this run alone")
    adding.add_argument("--role", metavar="ROLE", help="of this role alone")
    adding = command("resolve", commands.resolve, "Resolve an incident.")
    adding.add_argument("task", type=int, metavar="TASK")
    help = "try it again, go on as if it had passed, or let it fail"
    adding.add_argument("resolution", choices=list(commands.RESOLVED), help=help)
    adding.add_argument("--reason", required=True, help="why")
    adding.add_argument("--output", metavar="JSON|@FILE", help="of a step that is skipped: what later steps see")


def _add_request_commands(command: AddCommand) -> None:
    command("inbox", commands.inbox, "List the requests that wait for a person, the oldest first.")
    adding = command("approve", commands.approve, "Approve a request, or answer it, as `show` has shown it.")
    adding.add_argument("request", type=_request, metavar="REQUEST")
    adding.add_argument("--note", default="", help="why")
    adding.add_argument("--data", default="{}", metavar="JSON|@FILE", help="the fields the request asks for")
    adding.add_argument("--outcome", metavar="OPTION", help="where the request offers other options than approval")
    adding.add_argument("--revision", type=int, metavar="N", help="only if the request is still this revision")
    adding = command("reject", commands.reject, "Reject a request, as `show` has shown it.")
    adding.add_argument("request", type=_request, metavar="REQUEST")
    adding.add_argument("--reason", required=True, help="why")
    adding.add_argument("--revision", type=int, metavar="N", help="only if the request is still this revision")

    help = "Take back a question that you asked; or cancel a run."
    adding = command("cancel", commands.cancel, help)
    adding.add_argument("what", type=_run_or_request, metavar="RUN|REQUEST")
    adding.add_argument("--reason", default="", help="why")


def _add_report_commands(command: AddCommand) -> None:
    help = "Show what has happened; with --follow also what happens, for ever."
    adding = command("events", report_commands.events, help)
    adding.add_argument("--follow", action="store_true", help="go on; begin now unless --after is given")
    adding.add_argument("--after", type=_place, metavar="ID", help="go on behind this event")
    help = "only this type, such as hitl.request.fulfilled or 'hitl.request.*'; may be given again"
    adding.add_argument("--type", action="append", default=[], metavar="TYPE", help=help)
    adding.add_argument("--run", type=int, metavar="RUN", help="of this run alone")
    adding.add_argument("--request", type=_request, metavar="REQUEST", help="of this request alone")
    adding = command("statistics", report_commands.statistics, "Show what became of the requests.")
    adding.add_argument("--period", metavar="PERIOD", help="2025, 2025-11 or 2025-11-03 (UTC): of those made then")
    adding.add_argument("--people", action="store_true", help="also by person, for whoever may see that")


def _add_access_commands(command: AddCommand) -> None:
    adding = command("login", commands.login, "Log in with a user name and a password.")
    adding.add_argument("--username", help="asked for if not given")
    adding.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    command("logout", commands.logout, "Forget the log-in.")


def _add_playbook_commands(subparsers: Any, after: argparse.ArgumentParser) -> None:
    playbooks = subparsers.add_parser("playbooks", help="Work with playbooks.")
    inner = playbooks.add_subparsers(required=True, metavar="COMMAND")
    help = "See what is wrong or odd with a document; nothing is stored."
    adding = inner.add_parser("validate", help=help, description=help, parents=[after])
    adding.add_argument("file", metavar="FILE", help="JSON or YAML")
    adding.set_defaults(command=commands.validate)
    help = "Store a document as a version of its playbook, and publish it."
    adding = inner.add_parser("push", help=help, description=help, parents=[after])
    adding.add_argument("file", metavar="FILE", help="JSON or YAML")
    adding.add_argument("--no-publish", action="store_true", help="leave the version a draft")
    adding.add_argument("--id", help="where the document has none (default: the file's name)")
    adding.set_defaults(command=commands.push)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _request(text: str) -> str:
    if not re.fullmatch(r"har_[0-9a-z]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of a request, har_…")
    return text


def _place(text: str) -> str:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of an event, a number")
    return text


def _run_or_request(text: str) -> int | str:
    if text.isdecimal():
        return int(text)
    if text.startswith("har_"):
        return _request(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither the number of a run nor the id of a request, har_…")


# --- who speaks


def _session(url: str | None) -> Session:
    url = url or os.environ.get("HMS_ACT_URL") or DEFAULT_URL
    state = State(url.rstrip("/"))
    token = os.environ.get("HMS_ACT_TOKEN", "")
    kept = None if token else state.log_in()
    if kept is None:
        return Session(Client(url, token, retry=RETRY), state)
    client = Client(url, kept.access, refresh_token=kept.refresh, retry=RETRY, on_tokens=state.keep_log_in)
    return Session(client, state)


# --- what is shown


def _write(text: str) -> None:
    print(text, flush=True)


def _account(error: Exception) -> tuple[list[str], int]:
    """What to say of an error, a line each, and the exit code."""
    if isinstance(error, HmsActError):
        problem = error.problem
        hint = f" ({error.hint})" if error.hint else ""
        lines = [
            f"hms-act: {plain(problem.detail or problem.title)}{hint}",
            *(f"  {plain(one)}" for one in error.errors),
        ]
        return lines, UNREACHABLE if isinstance(error, ServerError | Unreachable) else REFUSED
    if isinstance(error, UsageError):
        return [f"hms-act: {plain(error)}"], USAGE
    if isinstance(error, OSError | EOFError):
        return [f"hms-act: {plain(error) or 'the input ended'}"], REFUSED
    return [f"hms-act: unexpected {type(error).__name__}: {plain(error)}"], REFUSED
