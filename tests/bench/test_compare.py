"""The comparison of two checkouts."""

import pytest

from bench.cases import CASES
from bench.cases.interface import Scale
from bench.compare import BEFORE, PairedCase, as_text, parse, ratio_of, ratios
from bench.figures import Figures
from bench.programs import CannotRun


def test_ratio_of_equal_rounds_is_exact():
    found = ratio_of([2.0, 4.0, 8.0], [1.0, 2.0, 4.0])
    assert (found.ratio, found.low, found.high) == pytest.approx((2, 2, 2))


def test_interval_contains_the_ratio_and_narrows_with_rounds():
    few = ratio_of([1.0, 1.2] * 2, [1.0] * 4)
    many = ratio_of([1.0, 1.2] * 8, [1.0] * 16)
    assert few.low < few.ratio < few.high
    assert many.high - many.low < few.high - few.low


def test_one_round_has_no_interval():
    assert ratio_of([3.0], [2.0]).low == ratio_of([3.0], [2.0]).high == pytest.approx(1.5)


def test_no_pairs_cannot_be_compared():
    with pytest.raises(CannotRun):
        ratio_of([], [1.0])


@pytest.mark.parametrize("name", CASES)
def test_every_scenario_of_pushd_runs_by_both(name):
    case = PairedCase(CASES[name])
    scenarios = case.scenarios(Scale())
    assert scenarios and {scenario.peer for scenario in scenarios} == {"pushd", BEFORE}
    assert len([each for each in scenarios if each.peer == BEFORE]) * 2 == len(scenarios)


def test_report_pairs_rows_of_costs():
    figures = Figures()
    for before, after in ((1.0, 1.1), (2.0, 2.2)):
        figures.add("one", f"{BEFORE} SSE", {"paced": before, "back_to_back": before, "rate": 5})
        figures.add("one", "pushd SSE", {"paced": after, "back_to_back": before, "rate": 9})
    found = {(row, column.key): value.ratio for _, row, column, value in ratios(figures)}
    assert found == pytest.approx({("pushd SSE", "paced"): 1.1, ("pushd SSE", "back_to_back"): 1.0})
    assert "1.100" in as_text(figures) and "1.000 to 1.000" in as_text(figures)


def test_directory_without_pushd_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse([str(tmp_path)])
    assert "is not a checkout of pushd" in capsys.readouterr().err


def test_missing_configuration_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse([str(tmp_path), "--config", str(tmp_path / "none.toml")])
    assert "none.toml does not exist" in capsys.readouterr().err
