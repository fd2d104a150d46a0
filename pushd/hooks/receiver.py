"""The receiver of a hook: signed requests to its URL, at addresses that are allowed."""

from functools import partial
from hashlib import sha256
from typing import Any, Final

from pushd.hooks.endpoint import HookEndpoint
from pushd.net.address_rules import problem_of
from pushd.net.outgoing_requests import OutgoingRequest, QuietConnectionPool, Send, checked_sending
from pushd.wire.webhook_signature import signature_headers

TIMEOUT: Final = 10.0
"""How long a request may take, in seconds."""


def make_sending(reactor: Any, url: str) -> Send:
    """Return what sends the requests for a URL. Each has a connection of its own, to an address that was checked."""
    problem = partial(problem_of, is_plain=url.startswith("http:"))
    return checked_sending(reactor, QuietConnectionPool(reactor, persistent=False), problem)


def signed_request(endpoint: HookEndpoint, body: bytes, timestamp: int) -> OutgoingRequest:
    """Return the request with a batch of events. The same events have the same ``webhook-id``.

    :param timestamp: unix seconds of this attempt.
    """
    signature = signature_headers(endpoint.keys, f"msg_{sha256(body).hexdigest()[:32]}", timestamp, body)
    headers = {"Content-Type": "application/json", **signature}
    return OutgoingRequest("POST", endpoint.url, headers, body, TIMEOUT, is_notice=True)
