"""Fetches a small document over HTTP, such as a JWK set."""

from typing import Any, Final

from twisted.web.iweb import IAgent

from pushd.net.outgoing_requests import OutgoingRequest, send_request

TIMEOUT_SECONDS: Final = 5.0
"""The time in which the whole document must arrive."""
_ACCEPT: Final = {"Accept": "application/jwk-set+json, application/json"}


async def fetch_document(agent: IAgent, url: str, reactor: Any) -> bytes:
    """Return the body of the response to ``GET url``, which must have the status 200.

    :raises RequestFailed: when there is none in time, or it is too large.
    """
    return await send_request(agent, OutgoingRequest("GET", url, _ACCEPT, None, TIMEOUT_SECONDS), reactor)
