# SPDX-License-Identifier: Apache-2.0
"""`make fuzz` says which round to play again, and tells two databases apart that answer differently."""

import fuzz
import pytest
from fuzz import Database

pytestmark = pytest.mark.once  # it is about a program that starts tests


def answering(name: str, *answers: str) -> Database:
    return Database(name, {}, answers=list(answers))


def test_only_what_stands_before_the_tab_is_held_against_each_other():
    one = answering("sqlite", "agent GET /acts/runs 200 \tcurl … 1", "agent GET /acts/tasks 200 \tcurl … 2")
    other = answering(
        "postgresql", "agent GET /acts/runs 200 \tcurl … 3", "agent GET /acts/tasks 422 invalid\tcurl … 4"
    )

    (difference,) = fuzz.differences(one, other)

    assert "GET /acts/tasks 200" in difference
    assert "GET /acts/tasks 422 invalid\tcurl" in difference
    assert list(fuzz.differences(one, one)) == []


def test_a_call_that_one_database_never_got_is_a_difference():
    (difference,) = fuzz.differences(answering("sqlite", "agent GET /acts/runs 200 \t"), answering("postgresql"))

    assert "no such call" in difference


def test_a_fault_names_its_seed_and_its_database():
    one, other = answering("sqlite", "agent GET /acts/runs 200 \t"), answering("postgresql")

    assert next(fuzz.faults("7", [one, other])).startswith("make fuzz SEED=7\nCalls answered differently: 1.")
    other.passed = False
    assert list(fuzz.faults("7", [one, other])) == ["make fuzz SEED=7 DB=postgresql"]


def test_what_was_sent_stands_in_the_last_line(capsys):
    databases = [Database("sqlite", {}, calls=5), Database("postgresql", {}, calls=6)]

    assert fuzz.summary(databases, []) == 0
    assert capsys.readouterr().out.split("\n")[-2] == "OK: 5 calls on sqlite, 6 calls on postgresql, 0 faults."
    assert fuzz.summary(databases, ["make fuzz SEED=7"]) == 1
    assert "FAULT: make fuzz SEED=7" in capsys.readouterr().out


def test_the_seed_that_was_asked_for_is_played_once(monkeypatch):
    monkeypatch.setenv("SEED", "7")

    assert list(fuzz.seeds(minutes=10)) == ["7"]


def test_rounds_go_on_with_new_seeds_until_the_time_is_over(monkeypatch):
    monkeypatch.delenv("SEED", raising=False)
    rounds = fuzz.seeds(minutes=10)

    assert next(rounds) != next(rounds)
    assert list(fuzz.seeds(minutes=0)) == []


def test_an_unknown_database_is_refused_with_the_known_ones():
    with pytest.raises(SystemExit, match="oracle: give sqlite or postgresql"):
        fuzz.chosen(["oracle"])
    assert fuzz.chosen([]) == ["sqlite", "postgresql"]
