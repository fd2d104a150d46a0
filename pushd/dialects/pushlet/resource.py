"""The address of Pushlet: ``/pushlet.srv?p_event=…``. A refusal is a nack."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from pushd.core.cursor import NOW, MessageId, Now, parse_id
from pushd.core.errors import BadParameter, BadRequest, Refusal, TooManySubscriptions
from pushd.core.message import draft
from pushd.core.names import check_publishable, parse_topics
from pushd.core.poll import PollResult
from pushd.dialects.pushlet.events import STREAMS, WIRES, EventWire
from pushd.dialects.pushlet.sessions import Session, topics_of
from pushd.dialects.session_resource import SessionResource
from pushd.dialects.session_streams import SessionStreams
from pushd.dialects.sessions import Sessions, hurry, session_since, set_cursor
from pushd.http.query import parameter, require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext
from pushd.hub.hub import Hub
from pushd.transports.held_requests import HeldRequests
from pushd.transports.http_stream import TEMPORARY
from pushd.wire.json_messages import encode

_PULL_SECONDS: Final = 25.0
_MODES: Final = ("stream", "pull", "poll")
_JSON: Final = "application/json"
_JOINS: Final = ("join", "join-listen")
_LISTENING: Final = ("join-listen", "listen", "refresh")
"""Events whose refusal has an error status: the Java client ignores a nack, and would listen again without a pause."""
_DEFAULT_FORMAT: Final = "js"
"""As in Pushlet: the script `js-pushlet-client.js` names none."""
_DEFAULT_MODE: Final = "stream"


class _UnknownFormat(BadParameter):
    """A format that no client of it repeats, such as ``ser``."""


class PushletResource(SessionResource):
    """Executes one event for each request."""

    transport_name = "pushlet"

    def __init__(
        self,
        context: HttpContext,
        hub: Hub,
        held: HeldRequests,
        sessions: Sessions[Session],
        streams: SessionStreams[Session],
    ) -> None:
        super().__init__(context, hub)
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
        try:
            event = _required(request, b"p_event")
            session = None if event in _JOINS else self._find(request)
        except Refusal as refusal:
            return self._nack(request, None, refusal, 400)
        joined = None
        try:
            if session is None:
                session = joined = self._join(request)
            return await self._execute(request, event, session)
        except Refusal as refusal:
            if joined is not None:
                self._sessions.end(joined)
            if event == "refresh" and session is not None and isinstance(refusal, TEMPORARY):
                return self._come_back(request, session, refusal)
            is_repeated = event in _LISTENING and not isinstance(refusal, _UnknownFormat)
            return self._nack(request, session, refusal, 400 if is_repeated else 200)

    def _find(self, request: Request) -> Session:
        found = self._sessions.find(_required(request, b"p_id"), request.peer)
        if found is None:
            raise BadRequest("there is no such session: join again")
        return found

    def _come_back(self, request: Request, session: Session, refusal: Refusal) -> bytes:
        """Answer a client that has to send its request again later: after a nack it would send none."""
        self.context.counters.count_refusal(refusal, self.context.requester(request, "pushlet"))
        return self._document(request, session.wire, [session.refresh(is_late=True)])

    def _nack(self, request: Request, session: Session | None, refusal: Refusal, status: int) -> bytes:
        """Answer with a refusal, in the format of the session, if there is one, or of the request."""
        request.setResponseCode(status)
        self.context.counters.count_refusal(refusal, self.context.requester(request, "pushlet"))
        kind = request.args.get(b"p_format", [b""])[0].decode("latin-1")
        wire = session.wire if session is not None else WIRES.get(kind, WIRES[_DEFAULT_FORMAT])
        return self._document(request, wire, [wire.event("nack", p_reason=f"{refusal.code}: {refusal}")])

    async def _execute(self, request: Request, event: str, session: Session) -> Answer:
        if event == "join":
            ack = session.wire.event("join-ack", p_id=session.id, p_format=session.wire.kind)
            return self._document(request, session.wire, [ack])
        if event in _LISTENING:
            return await self._listen(request, session, event)
        handler = self._handlers.get(event)
        if handler is None:
            raise BadParameter("unknown p_event")
        fields = await handler(request, session)
        return self._document(request, session.wire, [session.wire.event(f"{event}-ack", p_id=session.id, **fields)])

    def _join(self, request: Request) -> Session:
        wire = WIRES.get(parameter(request, b"p_format") or _DEFAULT_FORMAT)
        if wire is None:
            raise _UnknownFormat("p_format must be js, xml, xml-strict or json")
        self._hub.callbacks.check_session(request.peer, "join")
        return self._sessions.add(Session(self.context.peer_of(request, "pushlet"), wire))

    async def _begin_listening(self, request: Request, session: Session) -> Mapping[str, str]:
        """Record the mode and the subjects of a request that starts to listen; return the fields of its ack."""
        mode = parameter(request, b"p_mode") or _DEFAULT_MODE
        if mode not in _MODES:
            raise BadParameter("p_mode must be stream, pull or poll")
        session.set_mode(mode)
        subjects = parameter(request, b"p_subject")
        if not subjects:
            return {}
        known = [id for id, words in session.subscriptions.items() if words == subjects.split(",")]
        return {"p_sid": known[0]} if known else await self._subscribe(request, session)  # it may listen again

    async def _subscribe(self, request: Request, session: Session) -> Mapping[str, str]:
        most = self.context.limits.topics
        subjects = _required(request, b"p_subject")
        words = subjects.split(",")
        topics = parse_topics(",".join(topic for word in words for topic in topics_of(word)), most)
        if session.size + len(topics) > most:
            raise TooManySubscriptions(f"a session must not have more than {most} topics")
        opening = await self.start(request, topics, NOW)
        if session.cursor is None or not session.subscriptions:
            session.cursor = opening.cursor
        id = f"s{session.next_id}"
        session.next_id += 1
        session.subscriptions[id] = words
        hurry(session.waiting)  # it waits for messages of the other topics only
        await self._streams.update(session)
        set_cursor(request, session.cursor)
        label = parameter(request, b"p_label")
        return {"p_subject": subjects, "p_sid": id} | ({} if label is None else {"p_label": label})

    async def _unsubscribe(self, request: Request, session: Session) -> Mapping[str, str]:
        id = parameter(request, b"p_sid")
        if id is None:
            session.subscriptions.clear()
            fields = {}
        elif (words := session.subscriptions.pop(id, None)) is not None:
            fields = {"p_sid": id, "p_subject": ",".join(words)}
        else:
            raise BadParameter("p_sid is unknown")
        await self._streams.update(session)
        return fields

    async def _publish(self, request: Request, session: Session) -> Mapping[str, str]:
        subject = _required(request, b"p_subject")
        if parameter(request, b"p_to") is not None:
            raise BadParameter("p_to is not supported: publish to a subject of the addressee")
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
        fields = {} if event == "refresh" else await self._begin_listening(request, session)
        await self._move(request, session)
        ack = session.ack(event, fields)
        if session.mode == "stream":
            first = ack + session.watch(2 * self._streams.wheel.seconds)
            await self._streams.open(request, session, STREAMS[session.wire.kind], first)
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

    async def _move(self, request: Request, session: Session) -> None:
        """Move the cursor to where a request asks to go on, if it does: its client has received what is before."""
        since = session_since(request, b"p_since")
        if isinstance(since, Now) or not session.topics:
            return
        if not isinstance(since, MessageId):
            since = (await self.start(request, session.topics, since)).cursor
        session.cursor = since

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
            set_cursor(request, session.cursor)
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
