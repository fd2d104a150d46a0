"""A daemon in this process, and the three clients."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted

from tests.clients.python.flavours import FLAVOURS, Flavour
from tests.daemon_fixtures import daemon, start_daemon

__all__ = ["daemon", "start_daemon"]

Connect = Callable[..., Flavour]


@pytest.fixture(params=FLAVOURS, ids=lambda flavour: flavour.name)
def flavour(request: pytest.FixtureRequest) -> type[Flavour]:
    """One of the three clients."""
    return request.param  # type: ignore[no-any-return]


@pytest_twisted.async_yield_fixture
async def connect(flavour: type[Flavour]) -> AsyncIterator[Connect]:
    """Return clients for the ports of daemons."""
    clients: list[Flavour] = []

    def connect(port: int, **options: Any) -> Flavour:
        clients.append(flavour(f"http://127.0.0.1:{port}", **options))
        return clients[-1]

    yield connect
    for client in clients:
        await client.close()
