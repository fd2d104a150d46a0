"""The receiver of a hook: signed requests to its URL, at addresses that are allowed."""

from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from typing import Any, Final

from twisted.web.client import Agent

from pushd.hooks.endpoint import HookEndpoint
from pushd.net.address_rules import CheckingReactor, problem_of
from pushd.net.outgoing_requests import OutgoingRequest, QuietConnectionPool, RequestFailed, send_request
from pushd.wire.webhook_signature import signature_headers

TIMEOUT: Final = 10.0
"""How long a request may take, in seconds."""
_CONNECT_SECONDS: Final = 5.0

Send = Callable[[OutgoingRequest], Awaitable[bytes]]
"""Sends a request; returns the body of the response, or raises `RequestFailed`."""


def make_sending(reactor: Any, url: str) -> Send:
    """Return what sends the requests for a URL. Each has a connection of its own, to an address that was checked."""
    checking = CheckingReactor(reactor, partial(problem_of, is_plain=url.startswith("http:")))
    agent = Agent(checking, connectTimeout=_CONNECT_SECONDS, pool=QuietConnectionPool(reactor, persistent=False))

    async def send(request: OutgoingRequest) -> bytes:
        try:
            return await send_request(agent, request, reactor)
        except RequestFailed:
            if checking.refused:
                raise RequestFailed(checking.refused, "address") from None
            raise

    return send


def signed_request(endpoint: HookEndpoint, body: bytes, timestamp: int) -> OutgoingRequest:
    """Return the request with a batch of events. The same events have the same ``webhook-id``.

    :param timestamp: unix seconds of this attempt.
    """
    signature = signature_headers(endpoint.keys, f"msg_{sha256(body).hexdigest()[:32]}", timestamp, body)
    headers = {"Content-Type": "application/json", **signature}
    return OutgoingRequest("POST", endpoint.url, headers, body, TIMEOUT, is_notice=True)
