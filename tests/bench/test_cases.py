"""Cases and crews: what tables and the sharing of servers rely on."""

from types import SimpleNamespace

import pytest

from bench.cases import CASES, stalled
from bench.cases.interface import Scale
from bench.peers import PEERS
from bench.peers.interface import Server
from bench.plot import CHARTS
from tests.doors.real import Daemon


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_two_rows_of_a_case_have_the_same_name(case):
    labels = [scenario.label for scenario in case.scenarios(Scale())]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_crew_of_subscribers_has_a_way_to_hear_and_every_one_a_way_to_publish(case):
    ports = dict.fromkeys(("http", "tcp", "nats", "redis", "lines"), 1)
    server = Server(None, ports)
    for scenario in case.scenarios(Scale()):
        peer = PEERS[scenario.peer]
        if scenario.subscribers:
            assert peer.subscribe_script(server, scenario.transport, scenario.topic).hello
        assert b"%p" in peer.publish_script(server, scenario.size, scenario.channel).text


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
        testbed = SimpleNamespace(server=Server(None, {"http": daemon.http_port}))
        assert stalled._dropped(testbed) == 0
    finally:
        daemon.stop()
