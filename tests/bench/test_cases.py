"""Cases and crews: what tables and the sharing of servers rely on."""

from types import SimpleNamespace
from typing import Any

import pytest

from bench.cases import CASES, stalled
from bench.cases.interface import Scale
from bench.peers import PEERS
from bench.peers.interface import Server
from bench.plot import CHARTS
from tests.doors.real import Daemon

NO_PROGRAM: Any = None
"""What is only named needs no process."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_two_rows_of_a_case_have_the_same_name(case):
    labels = [crew.label for crew in case.crews(Scale())]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_crew_of_subscribers_has_a_way_to_hear_and_every_one_a_way_to_publish(case):
    ports = dict.fromkeys(("http", "tcp", "nats", "redis", "lines"), 1)
    server = Server(NO_PROGRAM, ports)
    for crew in case.crews(Scale()):
        peer = PEERS[crew.peer]
        if crew.subscribers:
            assert peer.hearing(server, crew.technique, crew.topic).hello
        assert b"%p" in peer.telling(server, crew.size, crew.channel).text


def test_cases_of_one_group_stand_together():
    groups = [case.group for case in CASES.values()]
    assert groups == sorted(groups, key=groups.index)


def test_every_chart_shows_a_column_or_more_of_a_case():
    for chart in CHARTS:
        assert chart.key in {column.key for column in CASES[chart.case].columns}


@pytest.mark.system
def test_what_stalled_readers_lose_is_among_the_counters_of_the_daemon(tmp_path):
    daemon = Daemon(tmp_path)
    try:
        station: Any = SimpleNamespace(server=Server(NO_PROGRAM, {"http": daemon.http_port}))
        assert stalled._dropped(station) == 0
    finally:
        daemon.stop()
