"""Requests by HTTP: ``/request/CH`` publishes the body, and answers with the first reply."""

from pushd.core.errors import NotFound
from pushd.core.message import Draft, draft
from pushd.core.names import check_publishable
from pushd.core.open_requests import DEFAULT_SECONDS, AskerLeft, check_timeout
from pushd.http.answers import sandbox
from pushd.http.message_body import check_body_is_data, type_of_data
from pushd.http.query import decimal, name_in_path, parameter
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub
from pushd.wire.publication import check_request, check_size


class RequestResource(HttpResource):
    """``POST``: publish a request, wait for its first reply, and answer with the data and content type of that."""

    write_parameters = frozenset({"event", "timeout"})

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    async def post(self, request: Request) -> Answer:
        """Publish a request, and answer with the reply. An asker that disconnects is forgotten at once."""
        request.prioritize()
        message, seconds = self._message(request), decimal(request, b"timeout")
        seconds = check_timeout(DEFAULT_SECONDS if seconds is None else seconds)
        requests, slot = self._hub.requests, self.context.admit_stream(request)
        request.hold(lambda: requests.forget(request))
        try:
            waiting = await requests.ask(request.peer, message, seconds, request)
            request.release()
            reply = await waiting
        except AskerLeft:
            return None
        finally:
            if slot is not None:
                slot.release()
        self._check_not_revoked(request.peer)
        request.setHeader(b"Content-Type", reply.content_type.encode("latin-1"))
        sandbox(request)
        return reply.data

    def _message(self, request: Request) -> Draft:
        """Return the message of a request.

        :raises Refusal: when it is invalid.
        """
        if not request.postpath:
            raise NotFound("channel is missing; use /request/CHANNEL")
        channel = check_publishable(name_in_path(request))
        check_body_is_data(request)
        limits, event = self.context.limits, parameter(request, b"event")
        message = draft(channel, request.body, type_of_data(request), event, max_event=limits.event)
        check_size(len(message.data), limits.message)
        return check_request(message)
