# SPDX-License-Identifier: Apache-2.0
"""What a case of `make bench` says: its figure, what it was held against, and whether the bar was taken."""

import json
from typing import Any

import pytest

from bench import places
from bench.figures import Bar, Other, Report, finish, percentile


def told(*bars: Bar, **more: Any) -> dict[str, Any]:
    return dict(json.loads(Report("sample", bars, **more).line()))


def against(*rounds: float, at_least: float, is_peer: bool = False) -> Bar:
    return Bar("runs", "runs/s", [50, 40, 60], at_least=at_least, other=Other("the other", rounds, is_peer))


def test_a_line_tells_the_median_the_spread_the_floor_the_ratio_and_the_bar():
    line = told(against(25, 20, 40, at_least=2))

    assert (line["figure"], line["min"], line["max"], line["rounds"], line["unit"]) == (50, 40, 60, 3, "runs/s")
    assert line["floor"] == {"name": "the other", "figure": 25, "min": 20, "max": 40, "rounds": 3}
    assert (line["ratio"], line["ratio_spread"]) == (2, [1.5, 2])
    assert (line["bar"], line["ok"]) == (">= 2 x", True)


def test_a_peer_is_called_one():
    assert told(against(25, 20, 40, at_least=2, is_peer=True))["peer"]["figure"] == 25


@pytest.mark.parametrize(
    ("bar", "ok"),
    [
        (against(25, 25, 25, at_least=2), True),
        (against(26, 26, 26, at_least=2), False),
        (Bar("p50", "ms", [0.9, 1.0, 1.1], at_most=1), True),
        (Bar("p50", "ms", [1.1, 1.2, 0.1], at_most=1), False),
        (Bar("an aim is no bar", "ms", [9, 9, 9], aim=1), True),
    ],
)
def test_a_bar_is_taken_by_the_median_or_by_the_ratio_of_medians(bar, ok):
    assert told(bar)["ok"] is ok


def test_one_missed_bar_among_several_is_a_missed_case():
    line = told(against(10, 10, 10, at_least=2), Bar("p50", "ms", [3], at_most=1))

    assert [line["ratio"], line["also"][0]["ok"], line["ok"]] == [5, False, False]


def test_no_figure_counts_where_a_result_was_wrong():
    line = told(against(10, 10, 10, at_least=2), faults=["3 runs have not ended"])

    assert (line["ok"], line["faults"]) == (False, ["3 runs have not ended"])


@pytest.mark.parametrize(("at_most", "code"), [(1, 0), (0.5, 1)])
def test_a_missed_bar_ends_the_case_with_1(at_most, code, capsys):
    with pytest.raises(SystemExit) as ended:
        finish(Report("sample", [Bar("p50", "ms", [0.9], at_most=at_most)]))

    assert ended.value.code == code
    assert json.loads(capsys.readouterr().out)["case"] == "sample"


def test_a_percentile_is_one_of_the_values():
    values = [float(n) for n in range(1, 101)]

    assert [percentile(values, percent) for percent in (0, 50, 99, 100)] == [1, 51, 99, 100]


def test_the_server_of_a_case_is_as_durable_as_postgresql_is_by_default():
    assert places.DURABLE == {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
