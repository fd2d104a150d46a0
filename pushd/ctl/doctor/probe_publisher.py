"""Publishing through the proxies as a page would; where they refuse that, as a program; at last to pushd itself."""

import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException

from pushd.ctl.api_client import Web, in_path
from pushd.ctl.doctor.diagnosis import PUBLISHED
from pushd.ctl.doctor.observation import Answer
from pushd.ctl.doctor.probe_subscriber import answer_of, servers_of
from pushd.ctl.errors import NotReachable, Refused

_SECONDS = 30.0
_PADDING = "." * 1000
"""In front of the first word: there are proxies that hold back what they compress, and compress what begins with more
than some hundred bytes. The other messages are short, since many of them make a buffer overflow.
"""
BODY_BYTES = 2 << 20
"""Of a batch: twice what nginx lets pass by itself, and far from what pushd takes."""


class Publisher:
    """Publishes words to one channel.

    :param through: the address that is examined.
    :param direct: that of pushd itself; may be the same.
    :param ttl: seconds that a message is kept at the most, should nobody come to delete the channel.
    """

    def __init__(self, through: Web, direct: Web, channel: str, ttl: float) -> None:
        self.answers: list[Answer] = []
        """Of the first word, as far as it went through the proxies."""
        self.later_refusal: Answer | None = None
        """Of a later word, where there was one."""
        self.servers: set[str] = set()
        """What the answers say about who gave them."""
        self.is_open = False
        """Whether there is a door that lets messages in."""
        self._channel, self._path, self._ttl = channel, f"/pub/{in_path(channel)}", ttl
        self._doors: list[tuple[Web, Mapping[str, str]]] = [(through, {"Origin": through.origin}), (through, {})]
        self._through = through
        if direct is not through:
            self._doors.append((direct, {}))

    def begin(self, word: str) -> None:
        """Publish the first word by the first door that is open.

        :raises NotReachable: nobody answers.
        """
        while self._doors and not self.is_open:
            try:
                answer = self._publish(f"{_PADDING}{word}")
            except NotReachable as error:
                if not self.answers:
                    raise
                answer = Answer(0, error=str(error))
            if self._is_through:
                self.answers.append(answer)
            self.is_open = answer.status in PUBLISHED
            if not self.is_open:
                self._doors.pop(0)

    def say(self, word: str, *, is_last: bool = False) -> bool:
        """Publish a word; tell whether it was taken. Raises as `begin` does."""
        answer = self._publish(word, is_last)
        if answer.status not in PUBLISHED:
            self.later_refusal = answer
        return answer.status in PUBLISHED

    def say_much(self) -> Answer | None:
        """Send a large batch that has no message in it; None where publishing does not go through the proxies."""
        if not self._is_through:
            return None
        return self._request("POST", "/pub", {}, b" " * BODY_BYTES, "application/x-ndjson")

    def addresses(self) -> set[str]:
        """Give the addresses by which pushd knows those who listen; nothing where it is not to be asked."""
        web, _ = self._doors[0]
        try:
            return {str(each["address"]) for each in web.ask("GET", "/connections", {"channel": self._channel})}
        except (Refused, NotReachable, LookupError, TypeError):
            return set()

    def forget(self) -> bool:
        """Delete the channel; tell whether it is gone."""
        if not self._doors:
            return True
        while self._doors:
            if self._request("DELETE", self._path, {}).status in (200, 404):
                return True
            self._doors.pop(0)
        return False

    @property
    def _is_through(self) -> bool:
        return self._doors[0][0] is self._through

    def _publish(self, word: str, is_last: bool = False) -> Answer:
        query = {"ttl": self._ttl, "end": 1 if is_last else None}
        return self._request("POST", self._path, query, word.encode(), "text/plain")

    def _request(
        self, method: str, path: str, query: Mapping[str, object], body: bytes | None = None, kind: str = ""
    ) -> Answer:
        web, given = self._doors[0]
        headers = {**given, "Content-Type": kind} if kind else dict(given)
        connection = web.connection(_SECONDS)
        try:
            connection.connect()
        except OSError as error:
            raise web.not_reachable(error) from error
        start = time.monotonic()
        try:
            with suppress(ConnectionError):  # who refuses a body need not read it: the answer says why
                connection.request(method, web.target(path, query), body, headers)
            response = connection.getresponse()
            self.servers.update(servers_of(response))
            return answer_of(response, time.monotonic() - start)
        except (OSError, HTTPException) as error:
            return Answer(0, error=f"no answer: {error}")
        finally:
            connection.close()
