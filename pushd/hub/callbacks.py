"""Checks by the application: what it is asked before a peer connects, reads topics, or publishes to channels.

A credential is checked by its own grant first, so that the application is asked only about what that allows. Without a
credential, the answer may allow more than the grant of anonymous peers.
"""

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from twisted.internet.defer import Deferred, gatherResults

from pushd.auth.callback_question import Answer, CallbackAction, Question
from pushd.core.answered_grant import UNASKED, AnonymousGrant, NarrowedGrant
from pushd.core.cursor import Since
from pushd.core.errors import CallbackUnavailable, NotGranted, Refusal, TokenMissing, TokenRevoked
from pushd.core.grant import Action, Grant
from pushd.core.identity import Identity
from pushd.core.names import is_reply
from pushd.core.peer import Peer
from pushd.core.subscriber import Subscriber
from pushd.hub.authorization import actions_of, check_topics
from pushd.hub.revocations import RevocationControl

_TOGETHER: Final = 8
"""The most questions of one batch at a time, so that it does not delay those of others."""
_COMMANDS: Final = ("websocket", "tcp")
"""The transports whose connections send commands."""


class _Addressed(Protocol):
    """What goes to a channel."""

    @property
    def channel(self) -> str:
        """The name of the channel."""


T = TypeVar("T", bound=_Addressed)
Decided = dict[str, Refusal | None]
"""What was decided on the channels of a batch: None if it is allowed."""


class Application(Protocol):
    """Answers questions; see `pushd.auth.callback.Callback`."""

    asks_connect: bool
    asks_subscribe: bool
    asks_publish: bool

    @property
    def forward_headers(self) -> Sequence[str] | None:
        """The headers of HTTP requests that are forwarded to it; None if it is never asked."""

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question.

        :raises CallbackUnavailable: when there is none in time.
        """


class _NoApplication:
    """Decides nothing, and is never asked."""

    asks_connect = asks_subscribe = asks_publish = False
    forward_headers = None

    async def ask(self, question: Question) -> Answer:
        return Answer(True)


class CallbackChecks:
    """The checks of the daemon. They do nothing about what the application is not asked."""

    def __init__(self, revocations: RevocationControl) -> None:
        self.application: Application = _NoApplication()
        """Replaced once when the daemon is built. A reload changes about what it is asked."""
        self._revocations = revocations

    async def connect_request(self, peer: Peer, *, is_asked_later: bool) -> None:
        """Set the grant of the peer of an HTTP request, after asking.

        :param is_asked_later: whether a peer without a credential is asked about at its first command, see `UNASKED`.
        :raises Refusal: see `connect`.
        """
        if peer.identity is not None or not is_asked_later:
            peer.grant = await self.connect(peer, peer.identity, peer.grant)
        elif self.application.asks_connect:
            peer.grant = UNASKED

    async def connect(self, peer: Peer, identity: Identity | None, grant: Grant) -> Grant:
        """Return the grant of a peer that connects, after asking.

        :param identity: as the credential says that it presents; None without one.
        :param grant: that of the credential, or of anonymous peers.
        :raises NotGranted: when the application refuses the peer.
        :raises TokenRevoked: when the credential was revoked meanwhile.
        :raises CallbackUnavailable: when the application does not answer.
        """
        if not self.application.asks_connect or grant.is_full:
            return grant
        answer = await self._ask("connect", (), peer, identity)
        if not answer.is_allowed:
            subject = None if identity is None else identity.subject
            raise NotGranted("the application refused the connection", "connect", subject=subject)
        if answer.grant is None:
            return grant
        return AnonymousGrant.of(answer.grant) if identity is None else NarrowedGrant.of(grant, answer.grant)

    async def check_subscription(self, subscriber: Subscriber, topics: Sequence[str], since: Since) -> None:
        """Check a subscription, after asking; one with a cursor reads the history, too. The grant of its peer allows it
        from now on.

        :raises Refusal: see `check_read`.
        """
        peer, actions = subscriber.peer, actions_of(since)
        answer = await self.check_read(peer, topics, *actions)
        if answer is not None and answer.grant is not None and peer.identity is None:
            peer.grant = grant = AnonymousGrant.of(peer.grant)
            grant.add(topics, subscriber.starts, reads_history="history" in actions)

    def check_session(self, peer: Peer, what: str) -> None:
        """Check that a peer may begin a session: without a credential it needs a grant, or an application that decides
        about its topics.

        :param what: what begins it, for the text of the refusal.
        :raises TokenMissing: when it has none of them.
        """
        if peer.identity is None and peer.grant.is_empty and not self.asks_about_topics:
            raise TokenMissing(f"{what} needs a token")

    async def check_read(self, peer: Peer, topics: Sequence[str], *actions: Action) -> Answer | None:
        """Check actions that read topics, after asking once for all of them.

        :return: the answer; None when nobody was asked.
        :raises NotGranted: when one is not allowed by the grant, by the application, or by the grant in its answer.
        :raises TokenMissing: instead, when the peer has no credential, and the application has answered no grant.
        :raises TokenRevoked: when the credential was revoked meanwhile.
        :raises CallbackUnavailable: when the application does not answer.
        """
        if not self.application.asks_subscribe or peer.grant.is_full:
            for action in actions:
                check_topics(peer, action, topics)
            return None
        return await self._check("subscribe", peer, topics, actions)

    def check_before_publish(self, peer: Peer, channels: Sequence[str]) -> None:
        """Check what can be checked without asking: the grant of a credential.

        :raises NotGranted, TokenMissing: when publishing to one of the channels is not allowed.
        """
        if not self.application.asks_publish or peer.identity is not None:
            check_topics(peer, "publish", channels)

    async def check_publish(self, peer: Peer, channels: Sequence[str]) -> None:
        """Check publishing to channels, after asking once for all of them.

        :raises Refusal: see `check_read`.
        """
        if not self.application.asks_publish or peer.grant.is_full:
            check_topics(peer, "publish", channels)
        else:
            await self._check("publish", peer, tuple(dict.fromkeys(channels)), ("publish",))

    @property
    def asks_about_topics(self) -> bool:
        """Whether the application may allow a peer what its grant does not: to subscribe or to publish."""
        return self.application.asks_subscribe or self.application.asks_publish

    def asks_publish_of(self, peer: Peer) -> bool:
        """Return whether the application is asked about what a peer publishes."""
        return self.application.asks_publish and not peer.grant.is_full

    async def granted(self, peer: Peer, items: Sequence[T | Refusal], decided: Decided) -> list[T | Refusal]:
        """Return messages or receipts, with a refusal in the place of each to whose channel a peer may not publish.

        :param decided: what was decided on channels before, to which this adds.
        """
        channels = dict.fromkeys(each.channel for each in items if not isinstance(each, Refusal))
        decided |= dict.fromkeys(filter(is_reply, channels))  # which depend on the channel of the request
        unknown = [channel for channel in channels if channel not in decided]
        for first in range(0, len(unknown), _TOGETHER):
            deciding = [self._decide(peer, channel) for channel in unknown[first : first + _TOGETHER]]
            results = await gatherResults([Deferred.fromCoroutine(each) for each in deciding])
            decided |= zip(unknown[first : first + _TOGETHER], results, strict=True)
        return [
            each if isinstance(each, Refusal) or (refusal := decided[each.channel]) is None else refusal
            for each in items
        ]

    async def _decide(self, peer: Peer, channel: str) -> Refusal | None:
        try:
            await self.check_publish(peer, (channel,))
        except (NotGranted, TokenMissing, TokenRevoked, CallbackUnavailable) as refusal:
            return refusal.without_traceback()
        return None

    async def _check(
        self, asked: CallbackAction, peer: Peer, topics: Sequence[str], actions: Sequence[Action]
    ) -> Answer:
        self._check_grant(peer, actions, topics)
        answer = await self._ask(asked, topics, peer, peer.identity)
        self._check_grant(peer, actions, topics)  # a reload, or another token, may have changed it meanwhile
        if not answer.is_allowed:
            raise NotGranted(f"the application refused action {asked} on {_named(topics)}", asked, topics[0])
        for action in actions:
            if answer.grant is None:
                check_topics(peer, action, topics)
            else:
                for topic in topics:
                    answer.grant.check(action, topic)
        return answer

    def _check_grant(self, peer: Peer, actions: Sequence[Action], topics: Sequence[str]) -> None:
        """Check the grant of a credential. That of an anonymous peer is the same as long as no answer replaces it."""
        if peer.identity is not None:
            for action in actions:
                check_topics(peer, action, topics)

    async def _ask(
        self, action: CallbackAction, topics: Sequence[str], peer: Peer, identity: Identity | None
    ) -> Answer:
        # What is asked by an HTTP request has no id of a connection, which would make each question another one.
        is_command = action != "connect" and peer.transport in _COMMANDS
        question = Question(
            action,
            tuple(topics),
            None if identity is None else identity.subject,
            b"" if identity is None else identity.claims,
            peer.address,
            peer.id if is_command else None,
            peer.transport,
            peer.forwarded,
        )
        answer = await self.application.ask(question)
        if identity is not None:
            self._revocations.check(identity)
        return answer


def _named(topics: Sequence[str]) -> str:
    return f"topic {topics[0]}" if len(topics) == 1 else f"{len(topics)} topics, the first of which is {topics[0]}"
