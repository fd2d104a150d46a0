"""Fetches a small document over HTTP, such as a JWK set."""

from typing import Final

from pushd.net.outgoing_requests import OutgoingRequest, Send

TIMEOUT_SECONDS: Final = 5.0
"""The time in which the whole document must arrive."""
_ACCEPT: Final = {"Accept": "application/jwk-set+json, application/json"}


async def fetch_document(send: Send, url: str) -> bytes:
    """Return the body of the response to ``GET url``, which must have the status 200.

    :raises RequestFailed: when there is none in time, or it is too large.
    """
    return await send(OutgoingRequest("GET", url, _ACCEPT, None, TIMEOUT_SECONDS))
