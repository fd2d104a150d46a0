"""Sessions: what the daemon keeps for a two-way peer, over WebSocket and TCP lines alike.

Here is what each command does; `pushd.hub.session_queue` executes them in their order.
"""

from collections.abc import Callable, Iterable, Sequence

from twisted.python.failure import Failure

from pushd.core.answered_grant import UNASKED
from pushd.core.command import (
    Acknowledged,
    Authenticate,
    Authenticated,
    Command,
    CommandList,
    EnterChannel,
    Entered,
    FormatSet,
    Goodbye,
    HeartbeatResult,
    Help,
    HistoryResult,
    LeaveChannel,
    Left,
    ListMembers,
    MembersResult,
    Ping,
    Pong,
    Published,
    PublishMessage,
    Quit,
    ReadHistory,
    ReadStatus,
    Replied,
    Reply,
    RequestRefused,
    SendHeartbeat,
    SendRequest,
    SetFormat,
    StatusResult,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from pushd.core.cursor import NOW
from pushd.core.errors import BadCommand, Forbidden, Refusal
from pushd.core.grant import UNLIMITED
from pushd.core.message import Draft, main_reason
from pushd.core.names import Scope, is_reply
from pushd.core.open_requests import AskerLeft
from pushd.core.replay import StartPosition
from pushd.core.subscriber import Subscriber
from pushd.hub.authorization import check_credential
from pushd.hub.credentials import check_same_subject
from pushd.hub.publishing import Receipt
from pushd.hub.session_queue import SessionContext, SessionQueue, T
from pushd.hub.subscriber_roles import subscribe_with_roles

_HISTORY_BYTES = 4 << 20
"""The most bytes of one reply with messages of the history: the default history of a channel."""

_ALWAYS = Authenticate, Ping, Help, Quit, SendRequest
"""The commands that need no grant, and the one whose refusals have its number."""


class Session(SessionQueue[T]):
    """The subscriber, the scope and the waiting commands of a two-way peer.

    :param scope: the topics to which the peer is confined, for reading and writing; None when it is not.
    """

    __slots__ = ("_scope",)

    def __init__(self, context: SessionContext, subscriber: Subscriber, scope: Scope | None = None) -> None:
        super().__init__(context, subscriber)
        self._scope = scope

    async def execute(self, command: Command, answer: Callable[[Reply], None]) -> None:
        """Execute a command. `answer` is called once, before the first frame that results from the command.

        :raises Refusal: when it cannot be executed; nothing was answered.
        """
        hub, peer = self._context.hub, self._subscriber.peer
        if peer.grant is UNASKED and not isinstance(command, _ALWAYS):
            await self._connect()
        match command:
            case PublishMessage(draft):
                await self._check_publish_scope(draft.channel)
                receipt = await hub.publish(peer, draft)
                answer(Published(receipt.id, receipt.subscribers, receipt.is_local))
            case Subscribe(topics, begin=begin):
                self._check_scope(topics)
                if begin and not self._subscriber.wire.has_begin:
                    raise BadCommand("begin=1 needs FORMAT json")
                await self._subscribe(command, answer)
            case SendRequest():
                await self._request(command, answer)
            case Unsubscribe(topics):
                check_credential(peer, "action unsubscribe")
                answer(Unsubscribed(tuple(hub.unsubscribe(self._subscriber, topics))))
            case ReadHistory(topics, count):
                self._check_scope(topics)
                page = await hub.queries.history(peer, topics, NOW, count, _HISTORY_BYTES)
                answer(HistoryResult(topics, tuple(page.messages)))
            case ReadStatus(channel):
                self._check_scope((channel,))
                answer(StatusResult(*await hub.queries.status(peer, channel)))
            case EnterChannel(channel, id, meta):
                self._check_scope((channel,))
                answer(Entered(channel, await hub.presence.enter(self._subscriber, channel, id, meta)))
            case LeaveChannel(channel):
                answer(Left(channel, await hub.presence.leave(self._subscriber, channel)))
            case ListMembers(channel, after, limit):
                self._check_scope((channel,))
                found = await hub.presence.members(peer, channel, after, limit)
                answer(MembersResult(channel, found.page, found.position))
            case SendHeartbeat(id, sent):
                self._check_scope((hub.presence.heartbeat_channel,))
                answer(HeartbeatResult(id, await hub.presence.heartbeat(peer, id, sent)))
            case SetFormat(name):
                check_credential(peer, "action format")
                self._set_format(name)
                answer(FormatSet(name))
            case Ping(token):
                answer(Pong(token))
            case Authenticate(token):
                await self._authenticate(token, answer)
            case Help():
                answer(CommandList())
            case Quit():
                hub.presence.leave_all(self._subscriber)
                answer(Goodbye())

    async def publish(self, drafts: Sequence[Draft | Refusal]) -> Sequence[Receipt | Refusal]:
        """Publish several messages at once; refusals among them are kept."""
        if self._subscriber.peer.grant is UNASKED:
            try:
                await self._connect()
            except Refusal as refusal:
                return [refusal.without_traceback() for _ in drafts]
        if self._scope is not None:
            drafts = [self._within_scope(draft) for draft in drafts]
        return await self._context.hub.publish_all(self._subscriber.peer, drafts)

    async def replay(self, opening: StartPosition) -> None:
        """Replay from a start position, and go live.

        A data-only wire has no gap frames: the caller has reported the gaps of the start position elsewhere.
        """
        subscriber = self._subscriber
        await self._context.hub.replay_and_go_live(subscriber, opening, report_gaps=not subscriber.wire.data_only)

    async def _subscribe(self, command: Subscribe, answer: Callable[[Reply], None]) -> None:
        subscriber, topics, hub = self._subscriber, command.topics, self._context.hub
        if command.responder and not subscriber.wire.has_reply_to:
            hub.requests.check_responder(subscriber.peer, topics)  # what is not granted is refused first
            raise BadCommand("responder=1 needs FORMAT json, in which messages have reply_to")
        policy = subscriber.policy, subscriber.has_policy
        if command.slow is not None:
            subscriber.choose_policy(command.slow)
        try:
            opening = await subscribe_with_roles(
                hub, subscriber, topics, command.since, command.member, responder=command.responder
            )
        except Refusal:
            subscriber.policy, subscriber.has_policy = policy
            raise
        gap = main_reason(opening.gaps) if subscriber.wire.data_only and opening.gaps else None
        answer(Subscribed(topics, gap, opening.cursor, subscriber.peer.id, command.begin))
        await self.replay(opening)

    async def _request(self, command: SendRequest, answer: Callable[[Reply], None]) -> None:
        """Publish a request. It is answered when its reply arrives; other commands are executed meanwhile.

        :raises NoRoom: when the peer does not read, and the memory limit is exceeded.
        """
        hub, subscriber, channel = self._context.hub, self._subscriber, command.draft.channel
        number = hub.requests.number(subscriber)

        def on_reply(reply: Draft) -> None:
            answer(Replied(number, channel, reply))

        def on_failure(failure: Failure) -> None:
            if isinstance(failure.value, Refusal):
                answer(RequestRefused(number, failure.value))
            elif not failure.check(AskerLeft):
                failure.raiseException()

        def close(failure: Failure) -> None:
            hub.disconnect(subscriber, failure.value if isinstance(failure.value, Exception) else Exception(failure))

        try:
            if subscriber.peer.grant is UNASKED:
                await self._connect()
            self._check_scope((channel,))
            reply = await hub.requests.ask(subscriber.peer, command.draft, command.timeout, subscriber)
        except Refusal as refusal:
            answer(RequestRefused(number, refusal))
            return
        reply.addCallbacks(on_reply, on_failure).addErrback(close)

    @property
    def waits_for_replies(self) -> bool:
        """Whether requests of the peer are open."""
        return self._context.hub.requests.has_open(self._subscriber)

    async def _authenticate(self, token: str, answer: Callable[[Reply], None]) -> None:
        """Replace the grant of the peer by that of a token, and unsubscribe from topics that it does not cover.

        :raises TokenInvalid: when the token is not accepted.
        :raises TokenExpired: when the token has expired.
        :raises Forbidden: when the token is of another issuer or subject than that of the connection, or the
            application refuses it.
        :raises CallbackUnavailable: when the application does not answer.
        :raises TooManyConnections, TooManySubscriptions: when the quota of its subject does not allow the connection.
        """
        authenticator, subscriber = self._context.authenticator, self._subscriber
        if not authenticator.is_enabled:
            answer(Acknowledged())
            return
        hub, peer, version = self._context.hub, subscriber.peer, None
        while version is not authenticator.version:  # a reload may change the grant of a token during a callback
            version = authenticator.version
            identity = await authenticator.authenticate(token)
            check_same_subject(peer, identity)
            grant = await hub.callbacks.connect(peer, identity, identity.grant)
        await hub.shared_quotas.claim_move(peer, identity, grant.quota)
        lost = hub.credentials.accept(subscriber, identity, grant)
        answer(Authenticated(identity.subject or "", tuple(lost.values())))

    async def _connect(self) -> None:
        """Ask the application about a peer without a credential, before its first command that needs a grant.

        :raises NotGranted: when it refuses the peer, which may still authenticate in time.
        :raises CallbackUnavailable: when it does not answer; the next command asks again.
        """
        hub, peer, anonymous = self._context.hub, self._subscriber.peer, self._context.authenticator.anonymous
        grant = await hub.callbacks.connect(peer, None, anonymous)
        if peer.grant is UNASKED:  # else a reload has changed it meanwhile
            hub.credentials.answer(peer, grant)
            if grant.quota is not UNLIMITED:
                hub.shared_quotas.claim_connection(self._subscriber)

    async def _check_publish_scope(self, channel: str) -> None:
        """Check that a channel, or for a reply that of the request, is within the scope of the peer.

        :raises Forbidden: when it is not.
        :raises NoRequest: when it is that of a reply, and there is no such request.
        """
        if self._scope is not None and is_reply(channel):
            channel = await self._context.hub.requests.channel_of(self._subscriber.peer, channel)
        self._check_scope((channel,))

    def _check_scope(self, topics: Iterable[str]) -> None:
        """Check that topics are within the scope of the peer.

        :raises Forbidden: when one is not; the text names the first.
        """
        scope = self._scope
        if scope is None:
            return
        for topic in topics:
            if not scope.covers(topic):
                raise Forbidden(f"{topic} is not covered by the topics in the address of this connection")

    def _within_scope(self, draft: Draft | Refusal) -> Draft | Refusal:
        """Return the draft, or a refusal when its channel is outside the scope."""
        try:
            if not isinstance(draft, Refusal):
                self._check_scope((draft.channel,))
        except Forbidden as refusal:
            return refusal.without_traceback()
        return draft

    def _set_format(self, name: str) -> None:
        formats = self._context.formats
        if name not in formats:
            raise BadCommand(f"format must be one of {', '.join(formats)}")
        self._subscriber.set_wire(formats[name])
