"""Subscribes by ``/longpoll``: one long poll after the other."""

import json
from collections import deque

from pushd.client import ConnectionFailed
from pushd.client.core.interface import Closed, Connection, HttpRequest, HttpResponse
from pushd.client.core.refusals import refusal_of
from pushd.client.network.sync_subscription import SyncSubscriptionNetwork
from pushd.ctl.wires.request import parameters_of, topics_of, with_cursor

_POLL_SECONDS = 25
_ENDED = Closed(4410, "all channels have ended")
_OK, _FIRST_REFUSAL = 200, 400


class LongPollNetwork(SyncSubscriptionNetwork):
    """Sends long polls.

    The first does not wait: if the connection is lost while a poll waits, the cursor must be an id already.
    """

    async def open_stream(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """See `SyncSubscriptionNetwork`."""
        polls = PollConnection(self, request, idle_seconds)
        response = await polls.poll(0)
        if response.status >= _FIRST_REFUSAL:
            return response, None
        return response._replace(status=_OK), polls

    async def fetch(self, request: HttpRequest, idle_seconds: float) -> HttpResponse:
        """Return the complete response to a request."""
        response, connection = await super().open_stream(request, idle_seconds)
        if connection is None:
            return response
        pieces = []
        try:
            while isinstance(piece := await connection.receive(), bytes):
                pieces.append(piece)
        finally:
            await connection.close()
        return response._replace(body=b"".join(pieces))


class PollConnection:
    """Returns the objects of polls: of each a gap before the messages, and of the first the start cursor."""

    def __init__(self, network: LongPollNetwork, request: HttpRequest, idle_seconds: float) -> None:
        self._network = network
        self._request = request
        self._idle_seconds = idle_seconds
        self._since = parameters_of(request).get("since")
        self._received: deque[str | Closed] = deque()
        self._has_begun = False

    async def receive(self) -> bytes | str | Closed:
        """Return the next object.

        :raises ConnectionFailed: when a poll fails.
        :raises Refused: when one is refused.
        """
        while not self._received:
            response = await self.poll(_POLL_SECONDS)
            if response.status >= _FIRST_REFUSAL:
                raise refusal_of(response)
        return self._received.popleft()

    async def poll(self, seconds: int) -> HttpResponse:
        """Send a poll, and keep what it answers; return the response.

        :param seconds: how long it may wait.
        """
        request = with_cursor(self._request, since=self._since, timeout=seconds)
        response = await self._network.fetch(request, self._idle_seconds)
        if response.status < _FIRST_REFUSAL:
            self._take(response)
        return response

    def _take(self, response: HttpResponse) -> None:
        headers, before = response.headers, self._since
        messages = _messages(response)
        self._since = headers["pushd-cursor"]
        if reason := headers.get("pushd-gap"):
            gap = {"type": "gap", "topic": topics_of(self._request), "from": before, "to": None, "reason": reason}
            self._received.append(json.dumps(gap))
        self._received += map(json.dumps, messages)
        if not self._has_begun:
            self._has_begun = True
            self._received.append(json.dumps({"type": "begin", "cursor": self._since, "connection": None}))
        if "pushd-end" in headers:
            self._received.append(_ENDED)

    async def send(self, text: str) -> None:
        """Refuse: a poll has one direction."""
        raise NotImplementedError

    async def close(self) -> None:
        """Do nothing: each poll closes its connection."""


def _messages(response: HttpResponse) -> list[object]:
    """Return the messages of a poll.

    :raises ConnectionFailed: when the response is none of pushd, as one of a proxy, or is cut.
    """
    try:
        messages = json.loads(response.body) if response.status == _OK else []
    except ValueError:
        messages = None
    if not isinstance(messages, list) or "pushd-cursor" not in response.headers:
        raise ConnectionFailed(f"the response to a poll is not one of pushd: {response.body[:80]!r}")
    return messages
