"""The hub: publish, subscribe and query, over one backend and one dispatcher.

The lifecycle of a subscriber is `Hub.add`, `Hub.subscribe`, `Hub.replay_and_go_live`, `Hub.unsubscribe`, `Hub.remove`;
see `pushd.transports.interface` for who calls what. `BackendListener` passes the messages of the backend on to the
dispatcher.
"""

import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from pushd.audit.log import AuditLog
from pushd.backends.interface import Backend
from pushd.backends.records import Records
from pushd.core.budget import Budget
from pushd.core.channel_rules import NO_RULES, ChannelRules
from pushd.core.connection_ids import ConnectionIds
from pushd.core.cursor import NOW, MessageId, Since
from pushd.core.delivery import Recent
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import NotGranted, Refusal, Stopping, UnknownChannel
from pushd.core.grant import UNLIMITED
from pushd.core.idempotency import IdempotencyKey
from pushd.core.message import Draft
from pushd.core.peer import Peer
from pushd.core.register import Register
from pushd.core.replay import StartPosition
from pushd.core.subscriber import Subscriber
from pushd.hub.authorization import actions_of, check_authenticated, check_subscribe, check_topics
from pushd.hub.availability import STOPPING, Availability
from pushd.hub.backend_listener import BackendListener
from pushd.hub.callbacks import CallbackChecks
from pushd.hub.channel_counts import ChannelCounts
from pushd.hub.channel_settings import ChannelSettings
from pushd.hub.credentials import Credentials
from pushd.hub.disconnection import Disconnector
from pushd.hub.hooks import HubHooks
from pushd.hub.kicks import Kicks
from pushd.hub.memory_relief import MemoryRelief
from pushd.hub.metrics_report import MetricsReport
from pushd.hub.presence import Presence
from pushd.hub.publishing import Publisher, Receipt
from pushd.hub.queries import NO_CHANNEL, Queries
from pushd.hub.quotas import Quotas
from pushd.hub.replay import Replay, drained
from pushd.hub.requests import Requests
from pushd.hub.revocations import RevocationControl
from pushd.hub.scheduling import FanOutScheduler
from pushd.hub.shared_quotas import SharedQuotas
from pushd.hub.subscriptions import Subscriptions
from pushd.metrics import Counters
from pushd.net.fan_out import send_each
from pushd.net.turn_slices import Slices

_MEMORY_EXCEEDED = "the memory limit for queued data is exceeded: large requests are refused"


class Hub:
    """All operations of transports, the API and sources on messages and subscribers.

    :param max_subscriptions: the maximum number of topics of a connection.
    :param messages_per_second: how many messages an address may publish in a second; None: any number.
    :param rules: the rules for channels, which the backend has too.
    :param wall: returns unix seconds, for the times shown to operators.
    """

    log = Logger()

    def __init__(
        self,
        backend: Backend,
        clock: IReactorTime,
        counters: Counters,
        max_subscriptions: int = 10_000,
        budget: Budget | None = None,
        wall: Callable[[], float] = time.time,
        messages_per_second: int | None = None,
        rules: ChannelRules = NO_RULES,
    ) -> None:
        self._backend = backend
        self._wall = wall
        self.budget = Budget(clock=clock.seconds) if budget is None else budget
        """The memory limit for queued data: that of all subscribers, and incomplete data of all publishers."""
        self._availability = Availability()
        self._clock = clock
        self._turns = turns = Slices(clock)
        """The turns of replays and queries, which come after live messages."""
        recent = Recent()
        self.dispatcher = Dispatcher(recent, send_each, clock.seconds)
        self._register = Register(ConnectionIds(secrets.token_bytes(32)))
        self._disconnector = Disconnector(counters, lambda subscriber, why: self.remove(subscriber, why))
        self._relief = MemoryRelief(self.budget, self.dispatcher, clock, self._register.all, self.disconnect)
        self.budget.on_exceeded = self._relief.schedule
        self._scheduler = FanOutScheduler(self.dispatcher, clock, counters, self.disconnect, self._relief.relieve)
        quotas = self._quotas = Quotas()
        self.audit = audit = AuditLog(clock, wall)
        """The audit log, which is off until it is opened."""
        counters.on_access_refused = audit.refused
        self.shared_quotas = SharedQuotas(backend, clock, quotas, self.disconnect)
        """The quotas over all nodes."""
        self._subscriptions = Subscriptions(backend, self.dispatcher, clock, self.budget, quotas, max_subscriptions)
        self.revocations = RevocationControl(
            backend, self._register.all, self.disconnect, turns, counters, audit, self._wall
        )
        self.callbacks = CallbackChecks(self.revocations)
        """The checks by the application."""
        settings = self.channel_settings = ChannelSettings(backend, rules)
        """The rules for channels."""
        self._publisher = Publisher(
            backend, clock, counters, self.dispatcher, self._register, messages_per_second, self.callbacks, settings
        )
        self.presence = Presence(backend.presence, wall, self._publisher.rates.take, audit)
        """The members of channels."""
        self.presence.has_members = settings.has_presence
        self.credentials = Credentials(
            clock, wall, turns, quotas, audit, self.disconnect, self.unsubscribe, self.presence.on_grant_changed
        )
        """The credentials of open connections."""
        self._replay = Replay(backend, clock, counters, recent, turns, self._relief.relieve)
        counts = ChannelCounts(clock.seconds)
        self.requests = Requests(backend, self._publisher, self.dispatcher, self._register, clock, counters, turns)
        """Requests and replies."""
        self.revocations.check_others.append(self.requests.renew)
        self._publisher.reply = self.requests.reply
        self.renewals: list[Callable[[Callable[[Peer], None]], Coroutine[Any, Any, None]]] = []
        """Called to renew the grants of peers that are no connections."""
        self.hooks = hooks = HubHooks(backend, clock, wall, counters)
        """The events that are sent to the application."""
        self._subscriptions.on_left = self.requests.departures.topics_left
        hooks.on_reconfigured = self._subscriptions.observe
        hooks.subscribed_topics = self._subscriptions.subscribed_topics
        self.queries = Queries(backend, self.dispatcher, self._register, self.budget, self.callbacks, turns, counts)
        """The history, the states of channels, and open connections."""
        self.metrics = MetricsReport(
            backend, self.dispatcher, self._register, self.budget, counters, turns, self._availability, hooks.all, wall
        )
        """The metrics, as text."""
        self.kicks = Kicks(backend, self._register, self.disconnect, turns, audit)
        self._listener = BackendListener(
            self.dispatcher,
            self._register,
            self._scheduler,
            counters,
            self.disconnect,
            self.replay_and_go_live,
            self._availability.on_health,
            counts,
        )

    # Start and stop

    async def start(self) -> None:
        """Start the backend.

        :raises BackendUnusable: when the daemon must not start.
        """
        events = self.revocations.callbacks(self._listener.events())._replace(
            on_kick=self.kicks.on_kick, restore_usage=self.shared_quotas.restore, requests=self.requests
        )
        self.channel_settings.start()
        await self._backend.start(events)
        self._availability.on_started()
        self.hooks.start()

    @property
    def node(self) -> str:
        """The id of this node; empty if there are no others."""
        return self._backend.node

    @property
    def records(self) -> Records | None:
        """The records of dialects that all nodes share; None if there are no other nodes."""
        return self._backend.records

    def begin_shutdown(self) -> None:
        """Report the daemon as not ready from now on, send all accepted messages to ready subscribers, and refuse all
        requests that wait for replies.
        """
        self._availability.stop()
        self._scheduler.flush()
        self.requests.stop(Stopping(STOPPING))

    def reconfigure(self, max_subscriptions: int, messages_per_second: int | None = None) -> None:
        """Change limits, for subscriptions and messages from now on."""
        self._subscriptions.reconfigure(max_subscriptions)
        self._publisher.rates.reconfigure(messages_per_second)

    @property
    def unavailable_reason(self) -> str | None:
        """Why publishes are refused now, as a phrase; None when they are accepted."""
        return self._availability.reason

    @property
    def degraded(self) -> list[str]:
        """What does not work as it should although publishes are accepted, as phrases."""
        return [*([_MEMORY_EXCEEDED] if self.budget.is_over else []), *self.hooks.all.failures]

    @property
    def has_backlog(self) -> bool:
        """Whether a subscriber has not read its queue yet."""
        return any(subscriber.is_paused for subscriber in self._register.all())

    async def stop(self) -> None:
        """Stop the backend. The transports close their subscribers themselves."""
        self._availability.stop()
        self._subscriptions.stop()
        self._relief.stop()
        self.credentials.stop()
        self.shared_quotas.stop()
        self._publisher.rates.shared.stop()
        await self.hooks.stop()
        await self._backend.stop()
        self.audit.close()

    async def turn(self) -> None:
        """Wait for the next reactor turn, within work that takes long."""
        await deferLater(self._clock, 0)

    # Publish

    # Both return the coroutine of the publisher: a coroutine around it would cost one percent of a publish.

    def publish(self, peer: Peer, draft: Draft) -> Coroutine[Any, Any, Receipt]:
        """Publish one message, with the subject of the peer as its sender if the peer is authenticated.

        :raises Refusal: when the peer may not, or the backend did not accept it.
        """
        return self._publisher.publish(peer, draft)

    def publish_all(
        self,
        peer: Peer,
        drafts: Iterable[Draft | Refusal],
        key: IdempotencyKey | None = None,
        *,
        as_whole: bool = False,
    ) -> Coroutine[Any, Any, list[Receipt | Refusal]]:
        """Publish messages in their order, and return a receipt or a refusal for each; refusals among them are kept.

        The sender is set as by `publish`. Those that the peer may not publish are refused, and the others published.

        :param drafts: may be a long generator; it is read in several reactor turns.
        :param key: the idempotency key: a repeat within two minutes returns the first result and publishes nothing.
        :param as_whole: whether to raise `RateLimited`, and publish nothing, when a rate does not allow all of them.
        :raises IdempotencyMismatch: when the key was used before with another body.
        """
        return self._publisher.publish_all(peer, self.revocations.unless_revoked(peer, drafts), key, as_whole=as_whole)

    # Subscribe

    def add(self, subscriber: Subscriber) -> None:
        """Register the subscriber of a new connection: its peer gets an id.

        :raises TooManyConnections: when the quota of the peer allows no more. If the quota over all nodes does not, the
            connection is closed with it later; `subscribe` waits for that.
        """
        self._quotas.add(subscriber.peer)
        self._register.add(subscriber, self._wall())
        if subscriber.peer.identity is not None:
            self.credentials.watch(subscriber)
        self.hooks.on_added(subscriber.peer)
        self.shared_quotas.claim_connection(subscriber)

    async def subscribe(self, subscriber: Subscriber, topics: Sequence[str], since: Since = NOW) -> StartPosition:
        """Subscribe to topics. Nothing is sent before `replay_and_go_live`, so that the caller can answer first.

        A topic that the subscriber has already starts anew, unless `since` is `NOW`.

        :raises NotGranted: when its peer may not subscribe to one of the topics; nothing is subscribed then.
        :raises TooManySubscriptions: when the connection, or all together, would have too many topics.
        :raises Unavailable: when the backend cannot open the topics.
        :raises SubscriberClosed: when the subscriber is closed, or was closed meanwhile; nothing is subscribed then.
        """
        if self.callbacks.application.asks_subscribe:
            await self.callbacks.check_subscription(subscriber, topics, since)
        else:
            check_subscribe(subscriber.peer, topics, since)
        self.channel_settings.choose_policy(subscriber, topics)
        if subscriber.peer.grant.quota is not UNLIMITED:
            await self.shared_quotas.claim_topics(subscriber, topics)
        return await self._subscriptions.subscribe(subscriber, topics, since)

    async def position(self, peer: Peer, topics: Sequence[str] = ()) -> MessageId:
        """Return the cursor of the present: what was accepted up to now is not after it.

        :param topics: those for which the peer wants it. It is the same for all.
        :raises NotGranted: when the peer may not subscribe to one of them.
        :raises TokenMissing: when there are none, and it has no credential: the cursor shows how much is published.
        :raises Unavailable: when the backend cannot answer.
        """
        if not topics:
            check_authenticated(peer, "the cursor of all topics")
        if topics:
            await self.callbacks.check_read(peer, topics, "subscribe")
        return (await self._backend.open((), NOW)).position

    async def start_position(self, peer: Peer, topics: Sequence[str], since: Since) -> StartPosition:
        """Return where a subscription would start; nothing is subscribed.

        :raises NotGranted: when the peer may not subscribe to one of the topics.
        :raises Unavailable: when the backend cannot open the topics.
        """
        await self.callbacks.check_read(peer, topics, *actions_of(since))
        return await self._subscriptions.open(topics, since)

    async def replay_and_go_live(
        self, subscriber: Subscriber, opening: StartPosition, *, report_gaps: bool = True
    ) -> None:
        """Send the messages after the start position as fast as the peer reads, then go live; disconnect on failure.

        :param report_gaps: False when the caller has reported the gaps of the opening itself.
        """
        if subscriber.try_go_live(opening):
            return
        try:
            await self._replay.run(subscriber, opening, report_gaps=report_gaps)
        except Exception as cause:  # a refusal or a bug: neither may reach another subscriber
            self.disconnect(subscriber, cause)

    async def drained(self, subscriber: Subscriber) -> None:
        """Wait until the queue of a subscriber is drained, or it is closed."""
        await drained(subscriber)

    def unsubscribe(self, subscriber: Subscriber, topics: Iterable[str]) -> list[str]:
        """Unsubscribe from topics; return those that the subscriber had."""
        found = self._subscriptions.unsubscribe(subscriber, topics)
        self.presence.on_unsubscribed(subscriber, found)
        return found

    def remove(self, subscriber: Subscriber, why: Refusal | None = None) -> None:
        """Remove the subscriber of a connection that is closing or closed, once.

        :param why: the refusal with which it is closed; None when its client has disconnected or nothing was wrong.
        """
        topics = list(subscriber.starts)
        self._register.remove(subscriber)
        self.presence.on_removed(subscriber, why)
        self.credentials.forget(subscriber)
        subscriber.close(why)
        self._subscriptions.discard(subscriber, topics)
        self.requests.remove(subscriber)
        self._quotas.remove(subscriber.peer)
        self.hooks.on_removed(subscriber.peer, why)

    def disconnect(self, subscriber: Subscriber, cause: Exception) -> None:
        """Close the connection of a subscriber, because of a refusal or of a bug, whose details are only logged.

        Its outlet has to `remove` the subscriber.
        """
        self._disconnector.disconnect(subscriber, cause)

    async def renew_grants(self, renew: Callable[[Peer], None]) -> None:
        """Renew the grants of all peers; see `Credentials.renew_all`."""
        await self.credentials.renew_all(list(self._register.all()), renew)
        await self.requests.renew(renew)
        for renew_others in self.renewals:
            await renew_others(renew)

    def renew_credential(self, peer: Peer, id: str) -> Mapping[str, NotGranted]:
        """Replace the credential of a connection; see `Credentials.renew`."""
        return self.credentials.renew(peer, self._register.find(id))

    # Delete

    async def delete(self, peer: Peer, channel: str) -> None:
        """Delete a channel, and end the subscriptions to it.

        :raises NotGranted: when the peer may not, whether the channel exists or not.
        :raises UnknownChannel: when there is nothing to delete.
        """
        check_topics(peer, "manage", (channel,))
        audience = await self._backend.audience(channel)
        if not await self._backend.delete(channel):
            if not audience.named:
                raise UnknownChannel(NO_CHANNEL)
            self._listener.on_deleted(channel)
        self.audit.deleted(peer, channel)
