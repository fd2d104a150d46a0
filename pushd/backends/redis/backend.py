"""The Redis backend: connects its parts and reports their health."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger

from pushd.backends.interface import Audience, BackendEvents, ClosedElsewhere, PublishResult, Usage
from pushd.backends.redis.address import Address
from pushd.backends.redis.audiences import AudienceQueries
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.feed import FOREIGN, Feed
from pushd.backends.redis.heartbeat import OVERDUE_SECONDS, Heartbeat, HeartbeatReply
from pushd.backends.redis.key_names import ALL, of_node
from pushd.backends.redis.kicks import Kicks
from pushd.backends.redis.leases import LEASE_SECONDS, NodeLease
from pushd.backends.redis.limited_log import LimitedLog
from pushd.backends.redis.link import Link, NotUsable
from pushd.backends.redis.locator import Locator, log_in
from pushd.backends.redis.marks import RedisMarks
from pushd.backends.redis.outbox import RedisOutbox
from pushd.backends.redis.presence import RedisPresence
from pushd.backends.redis.protocols import CommandProtocol, PubSubProtocol
from pushd.backends.redis.publisher import NotSent, Publisher
from pushd.backends.redis.reader import Reader
from pushd.backends.redis.records import RedisRecords
from pushd.backends.redis.requests import RedisRequests
from pushd.backends.redis.retention_walk import RetentionWalk
from pushd.backends.redis.revocations import RedisRevocations
from pushd.backends.redis.scripts import JOIN
from pushd.backends.redis.server_checks import EvictionWarning, run_id_of
from pushd.backends.redis.subscriptions import TopicSubscriptions
from pushd.backends.redis.usage import NodeUsage
from pushd.core.channel_rules import NO_RULES, ChannelRules, Retentions
from pushd.core.cursor import MessageId, Since
from pushd.core.errors import Refusal, Unavailable
from pushd.core.history import Bounds
from pushd.core.idempotency import IdempotencyKey
from pushd.core.message import Draft, unkept_message
from pushd.core.replay import ChannelInfo, Page, StartPosition
from pushd.core.revocations import Revocation
from pushd.core.usage import UsageReply, UsageReport

_PAGES: Final = 64
"""The most pages that are read at a time, which bounds the memory when many subscribers reconnect together."""

_joined = msgspec.msgpack.Decoder(tuple[str, int, int, int, int]).decode


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """The settings of the backend, besides the address of Redis."""

    prefix: str = "pushd:"
    """The prefix of all keys and channels; nodes with the same prefix share one history."""
    publish_timeout: float = 5.0
    """The timeout of a publish and of any other call of Redis, in seconds."""
    is_local_when_away: bool = False
    """Whether messages go to the subscribers of this node while Redis is unavailable."""
    ca_file: str = ""
    """Certificates that are trusted instead of the system's; empty: the system's."""
    lease_seconds: float = LEASE_SECONDS
    """The term of the leases of nodes."""


class RedisBackend:
    """The backend in Redis.

    :param reactor: the reactor; its `seconds` must be monotonic.
    :param rules: the rules for channels.
    :param wall: returns unix seconds, for messages that are delivered locally.
    """

    log = Logger()

    def __init__(
        self,
        address: Address,
        options: RedisOptions,
        bounds: Bounds,
        reactor: Any,
        wall: Callable[[], float],
        rules: ChannelRules = NO_RULES,
    ) -> None:
        self._address = address
        self._options = options
        self._bounds = bounds
        self._clock = reactor
        self._wall = wall
        self._patience = options.publish_timeout
        self._node = secrets.token_hex(6)
        feed = f"{options.prefix}{address.db}:"
        self._commands = CommandRunner(options.prefix, feed, reactor, self._patience)
        locator = self._locator = Locator(address, options.ca_file, reactor)
        self._commands.link = Link(
            str(address),
            locator.find,
            lambda: CommandProtocol(self._patience, reactor),
            self._prepare_commands,
            self._on_command_link,
            reactor,
            self._patience,
        )
        self._feed_link: Link[PubSubProtocol] = Link(
            f"{address}, listening",
            locator.find,
            self._make_feed,
            self._prepare_feed,
            self._on_feed_link,
            reactor,
            self._patience,
        )
        retentions = Retentions(bounds, rules)
        self._publisher = Publisher(self._commands, self._node, retentions, reactor, self._patience)
        self._reader = Reader(self._commands, bounds.age)
        self.records = RedisRecords(self._commands, self._node)
        self._retention_walk = RetentionWalk(self._commands, self._reader, retentions, reactor)
        self._subscriptions = TopicSubscriptions(feed, (ALL, of_node(self._node)), reactor)
        self._heartbeat = Heartbeat(
            self._commands, self._node, bounds.age, reactor, self._on_heartbeat, self._update_health
        )
        self._revocations = RedisRevocations(
            self._commands,
            options.prefix.encode(),
            reactor,
            wall,
            lambda revocations: self._events.on_revocations(revocations),
            lambda: self._events.revocations(),
        )
        self._kicks = Kicks(
            self._commands,
            options.prefix.encode(),
            self._node,
            reactor,
            lambda subject: self._events.on_kick(subject),
        )
        self._lease = NodeLease(self._commands, self._node, options.lease_seconds, reactor)
        self._requests = RedisRequests(self._commands, self._node, reactor)
        self._node_usage = NodeUsage(self._commands, self._lease, reactor, lambda: self._events.restore_usage())
        self.hooks = RedisOutbox(self._commands, self._publisher, self._node, reactor)
        self._publisher.hooks = self.hooks
        self.presence = RedisPresence(self._commands, self._lease, bounds, reactor, self.hooks)
        self.marks = RedisMarks(self.hooks, self._lease, options.lease_seconds, reactor)
        self._lease.add(self._node_usage, self.presence, self.marks)
        self._pages = DeferredSemaphore(_PAGES)
        self._events: BackendEvents
        self._feed: Feed
        self._audiences: AudienceQueries
        self._limited_log = LimitedLog(self.log, reactor)
        self._reported_reason: str | None = None
        """Why Redis is unavailable, as it was reported last."""
        self._eviction_warning = EvictionWarning()
        self._is_stopping = False

    async def start(self, events: BackendEvents) -> None:
        """See `pushd.backends.interface.Backend`, here and below."""
        self._locator.load()
        self._events = events
        self._requests.listener = events.requests
        self._feed = Feed(
            self._subscriptions, self._reader, events, self._feed_link.drop, self._heartbeat.returned, self._limited_log
        )
        self._audiences = AudienceQueries(self._commands, self._node, events.local_audience, self._clock)
        self._commands.link.start()
        self._feed_link.start()
        self._heartbeat.start()
        self._lease.start()
        self.presence.start()
        self._retention_walk.start()

    async def stop(self) -> None:
        self._is_stopping = True
        self._heartbeat.stop()
        self._retention_walk.stop()
        self._publisher.stop()
        self._subscriptions.stop()
        await self.presence.stop()
        await self.hooks.stop()
        await self._lease.stop()
        await self._feed_link.stop()
        await self._commands.link.stop()

    def reconfigure(self, rules: ChannelRules) -> None:
        self._publisher.retentions = Retentions(self._bounds, rules)
        self._retention_walk.reconfigure(self._publisher.retentions)

    async def publish(self, drafts: Sequence[Draft], key: IdempotencyKey | None = None) -> Sequence[PublishResult]:
        audiences = [
            sum(self._events.local_audience(draft.channel).transports.values()) if key else 0 for draft in drafts
        ]
        try:
            return await self._publisher.publish(drafts, audiences, key, self.hooks.hooks_of(drafts))
        except NotSent as refusal:
            if self._options.is_local_when_away and self._feed.position is not None:
                return [self._publish_locally(draft, refusal) for draft in drafts]
            return [Unavailable(str(refusal)) for _ in drafts]
        except Unavailable as refusal:
            return [refusal.without_traceback() for _ in drafts]

    def subscribe(self, topic: str) -> None:
        self._subscriptions.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        self._subscriptions.unsubscribe(topic)

    async def audience(self, channel: str) -> Audience:
        return await self._audiences.of(channel)

    async def open(self, topics: Sequence[str], since: Since) -> StartPosition:
        await self._until_live()
        if not await self._subscriptions.ready(topics, self._patience):
            raise self._commands.unavailable()
        confirmed = self._subscriptions.among(topics)  # others may be subscribed to while Redis is asked
        opening, head = await self._reader.open(topics, since)
        self._feed.advance(*head)
        self._subscriptions.settle(confirmed, head.seq)
        return opening

    async def page(
        self, topics: Sequence[str], after: MessageId, count: int, size: int, latest_until: MessageId | None = None
    ) -> Page:
        await self._until_live()
        await self._pages.acquire()
        try:
            page, head = await self._reader.page(topics, after, count, size, latest_until)
        finally:
            self._pages.release()
        self._feed.advance(*head)
        return page

    async def info(self, channel: str) -> ChannelInfo | None:
        return await self._reader.info(channel)

    async def names(self, prefix: str, after: str, limit: int) -> list[str]:
        return await self._reader.names(prefix, after, limit)

    async def delete(self, channel: str) -> bool:
        audience = await self.audience(channel)
        return await self._reader.forget(channel, self._bounds.channels, is_named=audience.named)

    async def revoke(self, revocation: Revocation) -> None:
        await self._revocations.revoke(revocation)

    @property
    def revocations_age(self) -> float:
        return self._revocations.age

    async def kick(self, subject: str) -> ClosedElsewhere:
        return await self._kicks.kick(subject)

    @property
    def node(self) -> str:
        return self._node

    async def seek_responders(self, channel: str, seconds: float, on_found: Callable[[str, float], None]) -> None:
        await self._requests.seek(channel, seconds, on_found)

    def report_responders(self, node: str, channel: str, oldest: float) -> None:
        self._requests.report(node, channel, oldest)

    async def request_channel(self, token: str) -> str | None:
        return await self._requests.channel_of(token)

    async def reply(self, token: str, reply: Draft) -> bool:
        return await self._requests.reply(token, reply)

    async def remember_url(self, digest: bytes, until: float) -> None:
        await self._reader.remember_url(digest, until)

    async def is_url_remembered(self, digest: bytes) -> bool:
        return await self._reader.is_url_remembered(digest)

    has_nodes = True

    async def report_usage(self, reports: Sequence[UsageReport]) -> Sequence[UsageReply]:
        return await self._node_usage.report(reports)

    async def exchange_rates(self, used: Mapping[str, float]) -> Mapping[str, float]:
        return await self._node_usage.exchange_rates(used)

    async def usage(self) -> Usage:
        usage = Usage(None, None, None)
        if self._commands.link.protocol is not None:
            with suppress(Unavailable):
                usage = await self._reader.usage()
        return usage._replace(canary_age=self._heartbeat.silence)

    # While Redis is unavailable

    async def _until_live(self) -> None:
        """Wait until live messages are received: a replay that ended before would miss some."""
        if self._feed_link.protocol is None:
            if self._clock.seconds() - self._feed_link.away_since < self._patience:
                await self._feed_link.up(self._patience)
            if self._feed_link.protocol is None:
                raise Unavailable(f"Redis is unavailable: {self._feed_link.trouble}")

    def _publish_locally(self, draft: Draft, refusal: Refusal) -> PublishResult:
        position = self._feed.position
        if position is None or not self._events.local_audience(draft.channel).transports:
            return Unavailable(str(refusal))
        message = unkept_message(draft, *position, self._wall(), is_local=True)
        self._events.deliver(message, draft.exclude)
        return message

    # Connections

    async def _prepare_commands(self, protocol: CommandProtocol) -> None:
        await log_in(protocol, self._address)
        if self._address.db:
            await protocol.execute_command("SELECT", self._address.db)
        self._commands.run = await run_id_of(protocol)
        await self._eviction_warning.check(protocol)
        position = self._feed.position or MessageId("", 0)
        newest = max(position.seq, self._publisher.newest)
        epoch, head, _, now, forgets = _joined(await self._commands.call_over(protocol, JOIN, position.epoch, newest))
        self._set_clock(now, self._clock.seconds())
        if self._feed.position is None:
            self._feed.forgets = forgets
        self._commands.epoch = epoch
        self._feed.advance(epoch, head)
        await self._lease.prepare(protocol)
        await self._revocations.sync_soon(protocol)

    def _make_feed(self) -> PubSubProtocol:
        confirm, is_behind = self._subscriptions.confirm, self._events.is_behind
        return PubSubProtocol(self._patience, self._clock, self._on_pubsub_message, confirm, is_behind)

    async def _prepare_feed(self, protocol: PubSubProtocol) -> None:
        await log_in(protocol, self._address)
        run = await run_id_of(protocol)
        await self._commands.link.up(self._patience)
        if self._commands.link.protocol is None:
            raise NotUsable(self._commands.link.trouble)
        if run != self._commands.run:
            raise NotUsable("it is not the Redis server of the command connection")
        await self._subscriptions.connected(protocol)
        await self._revocations.sync_soon(self._commands.link.protocol)
        await self._feed.resync()

    def _on_command_link(self) -> None:
        if self._commands.link.protocol is not None:
            self._publisher.connected()
            self._lease.settle()
        self._update_health()

    def _on_feed_link(self) -> None:
        if self._feed_link.protocol is None:
            self._subscriptions.lost()
            self._feed.lost()
        else:
            self._heartbeat.restart()
        self._update_health()

    def _on_pubsub_message(self, raw: bytes) -> None:
        try:
            if raw.startswith((b"m ", b"e ")) or not (
                self._audiences.handle_message(raw)
                or self._revocations.handle_message(raw)
                or self._requests.handle_message(raw)
                or self._kicks.handle_message(raw)
            ):
                self._feed.handle_message(raw)
        except ValueError:
            self._limited_log.warn(FOREIGN)

    # Health

    def _on_heartbeat(self, beat: HeartbeatReply, sent: float) -> None:
        self._set_clock(beat.now, (sent + self._clock.seconds()) / 2)
        self._commands.epoch = beat.epoch
        self._feed.advance(beat.epoch, beat.head)
        self._feed.advance_beyond(beat.epoch, beat.beyond)
        self._revocations.on_heartbeat(beat.revocations)
        self._requests.check_nodes()

    def _set_clock(self, milliseconds: int, now: float) -> None:
        self._publisher.behind = milliseconds / 1000 - now

    def _update_health(self) -> None:
        """Report the health if it has changed."""
        reason = self._unavailable_reason()
        if reason != self._reported_reason and not self._is_stopping:
            self._reported_reason = reason
            self._events.on_health(reason)

    def _unavailable_reason(self) -> str | None:
        for link in (self._commands.link, self._feed_link):
            if link.protocol is None:
                return f"Redis is unavailable: {link.trouble}"
        if self._heartbeat.silence > OVERDUE_SECONDS:
            self._feed_link.drop(f"no sign of life came back for {self._heartbeat.silence:.0f} s")
            return f"Redis is unavailable: {self._feed_link.trouble}"
        return self._heartbeat.trouble
