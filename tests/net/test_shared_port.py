"""Shared ports: several processes may listen on the same TCP port, which a port of another kind refuses."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from pushd.net.shared_port import SharingReactor


@pytest_twisted.async_yield_fixture(params=["127.0.0.1", r"\:\:1"])
async def endpoint(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The endpoint string of an address on which a shared port listens."""
    from twisted.internet import reactor

    kind = "tcp6" if ":" in request.param else "tcp"
    port: Any = await serverFromString(SharingReactor(reactor), f"{kind}:0:interface={request.param}").listen(Factory())
    yield f"{kind}:{port.getHost().port}:interface={request.param}"
    await maybeDeferred(port.stopListening)


async def test_shared_port_can_be_opened_again(endpoint: str) -> None:
    from twisted.internet import reactor

    again: Any = await serverFromString(SharingReactor(reactor), endpoint).listen(Factory())
    assert f":{again.getHost().port}:" in endpoint
    await maybeDeferred(again.stopListening)


async def test_other_port_cannot_be_opened_on_it(endpoint: str) -> None:
    from twisted.internet import reactor

    with pytest.raises(CannotListenError):
        await serverFromString(reactor, endpoint).listen(Factory())
