"""Cases and scenarios: invariants of tables and of shared servers."""

from typing import cast

import pytest

from bench.cases import CASES, stalled
from bench.cases.interface import Scale
from bench.peers import PEERS
from bench.peers.interface import Server
from bench.plot import CHARTS
from bench.programs import Program
from tests.daemon.real import Daemon

NO_PROGRAM = cast(Program, None)
"""Stands in for the process of a server of which only the ports are used."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_rows_of_a_case_have_unique_labels(case):
    labels = [scenario.label for scenario in case.scenarios(Scale())]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_scenario_has_its_scripts(case):
    ports = dict.fromkeys(("http", "tcp", "nats", "redis", "lines"), 1)
    server = Server(NO_PROGRAM, ports)
    for scenario in case.scenarios(Scale()):
        peer = PEERS[scenario.peer]
        if scenario.subscribers:
            assert peer.subscribe_script(server, scenario.transport, scenario.topic).hello
        assert b"%p" in peer.publish_script(server, scenario.size, scenario.channel).text


def test_cases_of_a_group_are_adjacent():
    groups = [case.group for case in CASES.values()]
    assert groups == sorted(groups, key=groups.index)


def test_every_chart_shows_a_column_of_a_case():
    for chart in CHARTS:
        assert chart.key in {column.key for column in CASES[chart.case].columns}


@pytest.mark.system
def test_dropped_messages_are_a_metric_of_the_daemon(tmp_path):
    daemon = Daemon(tmp_path)
    try:
        assert stalled._dropped(Server(NO_PROGRAM, {"http": daemon.http_port})) == 0
    finally:
        daemon.stop()
