"""The address of Pushlet: ``/pushlet.srv?p_event=…``. A refusal is a nack, with the status 200."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from pushd.core.cursor import NOW, parse_id
from pushd.core.errors import BadParameter, BadRequest, Refusal, TooManySubscriptions
from pushd.core.message import draft
from pushd.core.names import check_publishable, parse_topics
from pushd.core.poll import PollResult
from pushd.dialects.pushlet.events import STREAMS, WIRES, EventWire
from pushd.dialects.pushlet.sessions import Session, topics_of
from pushd.dialects.session_streams import SessionStreams
from pushd.dialects.sessions import Sessions, hurry
from pushd.http.query import parameter, require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub
from pushd.transports.held_requests import HeldRequests
from pushd.wire.json_messages import encode

_PULL_SECONDS: Final = 25.0
_MODES: Final = ("stream", "pull", "poll")
_JSON: Final = "application/json"


class PushletResource(HttpResource):
    """Executes one event for each request."""

    parameters = None
    transport_name = "pushlet"

    def __init__(
        self,
        context: HttpContext,
        hub: Hub,
        held: HeldRequests,
        sessions: Sessions[Session],
        streams: SessionStreams[Session],
    ) -> None:
        super().__init__(context)
        self._hub = hub
        self._held = held
        self._sessions = sessions
        self._streams = streams
        self._handlers = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "publish": self._publish,
            "hb": self._hb,
            "leave": self._leave,
        }

    async def head(self, request: Request) -> Answer:
        """Refuse: an answer depends on what a request does."""
        raise BadParameter("HEAD has no meaning in Pushlet")

    async def get(self, request: Request) -> Answer:
        """Execute the event of the query."""
        require_no_subpath(request)
        self.context.check_origin(request)  # GET writes, too
        wire = WIRES.get(request.args.get(b"p_format", [b"xml"])[0].decode("latin-1"), WIRES["xml"])
        try:
            return await self._execute(request)
        except Refusal as refusal:
            self.context.counters.count_refusal(refusal, self.context.requester(request, "pushlet"))
            return self._document(request, wire, [wire.event("nack", p_reason=f"{refusal.code}: {refusal}")])

    async def _execute(self, request: Request) -> Answer:
        event = _required(request, b"p_event")
        if event in ("join", "join-listen"):
            session = self._join(request)
            if event == "join":
                ack = session.wire.event("join-ack", p_id=session.id, p_format=session.wire.kind)
                return self._document(request, session.wire, [ack])
            await self._add_subject(request, session)
            return await self._listen(request, session, event)
        found = self._sessions.find(_required(request, b"p_id"), request.peer)
        if found is None:
            raise BadRequest("there is no such session: join again")
        if event in ("listen", "refresh"):
            if event == "listen":
                await self._add_subject(request, found)
            return await self._listen(request, found, event)
        handler = self._handlers.get(event)
        if handler is None:
            raise BadParameter("unknown p_event")
        fields = await handler(request, found)
        return self._document(request, found.wire, [found.wire.event(f"{event}-ack", p_id=found.id, **fields)])

    def _join(self, request: Request) -> Session:
        wire = WIRES.get(parameter(request, b"p_format") or "xml")
        if wire is None:
            raise BadParameter("p_format must be js, xml, xml-strict or json")
        return self._sessions.add(Session(self.context.peer_of(request, "pushlet"), wire))

    async def _add_subject(self, request: Request, session: Session) -> None:
        """Record the mode and the subjects of a request that starts to listen."""
        mode = parameter(request, b"p_mode") or "pull"
        if mode not in _MODES:
            raise BadParameter("p_mode must be stream, pull or poll")
        session.mode = "pull" if mode == "stream" and session.wire.kind not in STREAMS else mode
        subjects = parameter(request, b"p_subject")
        if subjects and subjects.split(",") not in session.subscriptions.values():  # it may listen again
            await self._subscribe(request, session)

    async def _subscribe(self, request: Request, session: Session) -> Mapping[str, str]:
        most = self.context.limits.topics
        subjects = _required(request, b"p_subject")
        words = subjects.split(",")
        topics = parse_topics(",".join(topic for word in words for topic in topics_of(word)), most)
        if len(session.topics) + len(topics) > most:
            raise TooManySubscriptions(f"a session must not have more than {most} topics")
        opening = await self._hub.start_position(request.peer, topics, NOW)
        if session.cursor is None or not session.subscriptions:
            session.cursor = opening.cursor
        id = f"s{session.next_id}"
        session.next_id += 1
        session.subscriptions[id] = words
        hurry(session.waiting)  # it waits for messages of the other topics only
        await self._streams.update(session)
        return {"p_subject": subjects, "p_sid": id}

    async def _unsubscribe(self, request: Request, session: Session) -> Mapping[str, str]:
        id = parameter(request, b"p_sid")
        if id is None:
            session.subscriptions.clear()
        elif session.subscriptions.pop(id, None) is None:
            raise BadParameter("p_sid is unknown")
        await self._streams.update(session)
        return {} if id is None else {"p_sid": id}

    async def _publish(self, request: Request, session: Session) -> Mapping[str, str]:
        subject = _required(request, b"p_subject")
        channel = check_publishable(subject.removeprefix("/").removesuffix("/"))
        names = [name for name in request.args if not name.startswith(b"p_") and name != b"access_token"]
        fields = {name.decode("utf-8", "replace"): parameter(request, name) or "" for name in names}
        await self._hub.publish(request.peer, draft(channel, encode(fields), _JSON))
        return {"p_subject": subject}

    async def _hb(self, request: Request, session: Session) -> Mapping[str, str]:
        return {}

    async def _leave(self, request: Request, session: Session) -> Mapping[str, str]:
        self._sessions.end(session)
        return {}

    async def _listen(self, request: Request, session: Session, event: str) -> Answer:
        """Answer with what follows the cursor: with a stream, or with one answer, which waits after a refresh."""
        ack = session.wire.event(f"{event}-ack", p_id=session.id, p_mode=session.mode, p_format=session.wire.kind)
        if session.mode == "stream":
            await self._streams.open(request, session, STREAMS[session.wire.kind], ack)
            return None
        waits = event == "refresh" and session.mode == "pull"
        if not session.topics or session.cursor is None:
            session.stop_reading()
            return self._document(request, session.wire, [ack, self._refresh(session)])
        session.wait(request)
        topics = session.topics
        answer = partial(self._deliver, request, session, topics, ack)
        await self._held.hold(request, "pushlet", topics, session.cursor, _PULL_SECONDS if waits else 0.0, answer)
        return None

    def _deliver(
        self, request: Request, session: Session, topics: Sequence[str], ack: bytes, result: PollResult | None
    ) -> None:
        """Answer with what was read, and move the cursor behind it. If the client has subscribed to more meanwhile, the
        next request reads from the same cursor, since its new topics may have messages before what was read."""
        was_waiting, wire = session.stop_waiting(request), session.wire
        if result is None:
            return
        events = [ack]
        if was_waiting and topics == session.topics:
            session.cursor = parse_id(result.position) or session.cursor
            events += [*map(wire.gap, result.gaps), *(each.frame(wire) for each in result.deliveries)]
        if was_waiting:
            events.append(self._refresh(session, is_late=result.has_ended))
        request.answer(self._document(request, wire, events))

    def _refresh(self, session: Session, *, is_late: bool = False) -> bytes:
        return session.refresh(is_late=is_late or session.mode == "poll" or not session.topics)

    def _document(self, request: Request, wire: EventWire, events: Sequence[bytes]) -> bytes:
        request.setHeader(b"Content-Type", wire.content_type)
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        return wire.document(events)


def _required(request: Request, name: bytes) -> str:
    value = parameter(request, name)
    if not value:
        raise BadParameter(f"{name.decode('ascii')} is missing")
    return value
