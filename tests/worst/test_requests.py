"""As many open requests as the limits allow end together, and nobody else waits for that."""

from contextlib import ExitStack

import pytest
from twisted.internet.threads import deferToThread

from pushd.core.open_requests import MAX_OF_CONNECTION, MAX_OPEN
from tests.daemon_fixtures import Start
from tests.transports.daemon import until
from tests.worst.clients import Connection
from tests.worst.turns import MAX_TURN_SECONDS, ReactorTurns

pytestmark = pytest.mark.slow


def ask(port: int, stack: ExitStack) -> tuple[Connection, list[Connection]]:
    """Return a responder that has received all requests, and the connections of their askers."""

    def connect() -> Connection:
        connection = Connection(port)
        stack.callback(connection.close)
        connection.read_until(b"\n")
        return connection

    responder, askers = connect(), [connect() for _ in range(MAX_OPEN // MAX_OF_CONNECTION)]
    responder.send(b"FORMAT json\nSUB jobs\n")
    responder.read_until(b"+OK SUB")
    for asker in askers:
        asker.send(b"REQ jobs x\n" * MAX_OF_CONNECTION)
        responder.read_until(b'"reply_to"', MAX_OF_CONNECTION)
    return responder, askers


@pytest.mark.parametrize("cause", ["the responder leaves", "timeout"])
async def test_all_open_requests_end_together(start_daemon: Start, cause: str) -> None:
    daemon = await start_daemon({})
    with ExitStack() as stack, ReactorTurns() as turns:
        responder, askers = await deferToThread(ask, daemon.ports["tcp"], stack)
        assert daemon.counters.open_requests == MAX_OPEN
        if cause == "the responder leaves":
            responder.close()
        for number, asker in enumerate(askers):
            answers = await deferToThread(asker.read_until, b"-ERR no-reply request", MAX_OF_CONNECTION)
            assert answers.count(b"\r\n") >= MAX_OF_CONNECTION - 1, number
        await until(lambda: not daemon.counters.open_requests, "no open request")
    print(f"{cause}: {MAX_OPEN} requests, longest turn {turns.longest * 1000:.1f} ms")
    assert turns.longest < MAX_TURN_SECONDS
