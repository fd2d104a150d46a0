"""The command line: options and errors."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import parse, scale_of
from bench.cases import CASES
from bench.cases.interface import Scale
from bench.options import within_files
from bench.peers import PEERS

ROOT = Path(__file__).parent.parent.parent


def test_help_names_every_case_and_peer():
    command = [sys.executable, "-m", "bench", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    for name in (*CASES, *PEERS):
        assert name in done.stdout


def test_defaults_run_everything():
    options = parse([])
    assert options.cases == list(CASES) and options.peers == list(PEERS)
    assert scale_of(options) == Scale(subscribers=1000, many_subscribers=10_000, rounds=5)


def test_names_are_sorted_in_table_order():
    assert parse(["--cases", "idle, one"]).cases == ["one", "idle"]


def test_numbers_override_quick():
    scale = scale_of(parse(["--quick", "--subscribers", "50", "--rounds", "2"]))
    assert (scale.subscribers, scale.rounds) == (50, 2)
    assert scale.many_subscribers < 10_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--cases", "none"], "argument --cases: none is no case; there are one, burst,"),
        (["--peers", ","], "argument --peers: nothing is no peer; there are pushd,"),
        (["--subscribers", "-5"], "argument --subscribers: -5 is not a whole number from 1 to 100000"),
        (["--rounds", "x"], "argument --rounds: x is not a whole number from 1 to 100000"),
        (["--out", "/nowhere/x.md"], "/nowhere/x.md cannot be written: no directory /nowhere"),
        (["--what"], "unrecognized arguments: --what"),
    ],
)
def test_invalid_options_are_refused_with_one_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(arguments)
    output = capsys.readouterr().err
    assert stop.value.code == 2
    assert output.startswith(f"bench: {sentence}") and output.count("\n") == 1


def test_subscribers_are_limited_by_open_files(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda what: (100, 2000))
    monkeypatch.setattr("resource.setrlimit", lambda what, limits: None)
    notes: list[str] = []
    assert within_files(Scale(), notes) == Scale(subscribers=1000, many_subscribers=1600)
    assert notes == ["A process may open 2000 files here, so there are at most 1600 subscribers."]
