"""A client that polls in a loop: each request resumes where the last answer ended."""

from twisted.internet.defer import ensureDeferred

from tests.transports.client import Client, Closed, Refused, message_of
from tests.transports.http_client import Answer, HttpClient, address, encode_request


class LongPoll(Client):
    """Long polls with the cursor in ``since``."""

    label = "longpoll"
    transport_name = "longpoll"
    reports_gaps = False
    position: str | None = None

    @property
    def cursor(self) -> str | None:
        """See `Client`."""
        return self.position

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """See `Client`; the first request is answered at once, with the start position."""
        self._topics = topics
        answer = await self._poll(since, 0)
        if answer.status not in (200, 204):
            raise Refused(answer.json["error"]["code"], answer.status)
        self._take(answer)
        ensureDeferred(self._go_on())

    async def _go_on(self) -> None:
        try:
            while True:
                self._take(await self._poll(self.position, None))
        except Exception:
            self.deliver_result(Closed(None, False))

    async def _poll(self, since: str | None, timeout: int | None) -> Answer:
        request = encode_request("GET", address("longpoll", self._topics, since=since, timeout=timeout))
        protocol: HttpClient = self.daemon.connect("http", HttpClient(request))
        self.protocol = protocol
        return await protocol.answer

    def _take(self, answer: Answer) -> None:
        # If the history was not read within the time of the first poll, the second one reports its gap.
        self.gap = self.gap or answer.headers.get("pushd-gap")
        self.position = answer.headers["pushd-id"]
        assert answer.headers["pushd-cursor"] == self.position
        for decoded in answer.json if answer.status == 200 else ():
            self.deliver_result(message_of(decoded))
