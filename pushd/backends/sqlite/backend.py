"""The SQLite backend as the hub uses it.

Reads of the newest part of the log are answered at once from memory (`tail`); other requests are passed to the threads.
Messages are delivered after their commit, all messages of a commit in one reactor turn.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.interface import NOBODY, Audience, BackendEvents, BackendUnusable, DiskUsage, PublishResult, Usage
from pushd.backends.single_node import SingleNode
from pushd.backends.sqlite.errors import Damaged, reason_for
from pushd.backends.sqlite.history_reader import HistoryReader
from pushd.backends.sqlite.outbox import SqliteOutbox
from pushd.backends.sqlite.presence import SqlitePresence
from pushd.backends.sqlite.tail import Tail
from pushd.backends.sqlite.worker_threads import WorkerThreads
from pushd.backends.sqlite.writer_requests import (
    CommitResult,
    DeadLetterRequest,
    DeleteRequest,
    EventRequest,
    LogTotals,
    PresenceRequest,
    PublishRequest,
    Request,
    RetentionRequest,
    RevokeRequest,
    TickRequest,
    UrlRequest,
)
from pushd.backends.sqlite.writer_thread import PendingRequest, ResultCallbacks
from pushd.core.channel_rules import NO_RULES, ChannelRules, Retentions
from pushd.core.cursor import MessageId, Since
from pushd.core.errors import Overloaded, Refusal, Stopping, StorageFailed
from pushd.core.history import Bounds
from pushd.core.idempotency import IdempotencyKey
from pushd.core.message import Draft, Message, unkept_message
from pushd.core.remembered_urls import RememberedUrls
from pushd.core.replay import ChannelInfo, Page, StartPosition, newest_upto
from pushd.core.revocations import Revocation

_TICK_SECONDS = 1.0
_MAX_WAITING = 50_000
_MAX_WAITING_BYTES = 64 << 20
"""The most messages, and bytes of their data, that may wait for a commit; further publishes are refused."""

T = TypeVar("T")


class SqliteBackend(SingleNode):
    """A backend with its log in a file.

    :param directory: the path of the directory of the history, which no other program may use.
    :param reactor: provides monotonic seconds and `callFromThread`.
    :param wall: returns the time in unix seconds.
    :param rules: the rules for channels.
    :param sync: what a commit survives: ``full``, a power cut; ``normal``, the death of the process.
    """

    log = Logger()

    def __init__(
        self,
        directory: str,
        bounds: Bounds,
        reactor: Any,
        wall: Callable[[], float] = time.time,
        sync: str = "full",
        rules: ChannelRules = NO_RULES,
    ) -> None:
        self._bounds = bounds
        self._retentions = Retentions(bounds, rules)
        self._reactor = reactor
        self._wall = wall
        callbacks = ResultCallbacks(
            self._on_committed,
            self._on_maintained,
            self._on_failed,
            self._on_refused,
            self._on_recovered,
            self._on_stopped,
        )
        self._threads = WorkerThreads(directory, self._retentions, reactor, wall, sync, callbacks)
        self._totals = LogTotals("", 0, 0, 0, 0, 0)
        self._tail = Tail("", bounds.age, 0, 0, ())
        self._events: BackendEvents
        self._unavailable_reason: str | None = None
        self._is_stopping = False
        self._when_stopped: Deferred[None] = Deferred()
        self._submitted: list[PendingRequest] = []
        self._unanswered = 0
        """The number of requests that were submitted and not answered."""
        self._on_answered: list[Deferred[None]] = []
        """The reads that wait for the next answer."""
        self._waiting = self._waiting_bytes = 0
        self._commits = self._failures = 0
        self._urls = RememberedUrls()
        """Those that this process has committed, so that each is committed once."""
        self.hooks = SqliteOutbox(self._request, self._read, self._time, lambda: self._totals.hooks)
        self.presence = SqlitePresence(
            self._submit, self._refusal, self.hooks.events_of, bounds, reactor, self._threads.now, wall, self._position
        )
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor
        self._tick_is_done = True

    async def start(self, events: BackendEvents) -> None:
        """Open the file and start the threads, before the coroutine waits for anything.

        :raises BackendUnusable: when the file cannot be used; the text is a sentence.
        """
        self._events = events
        self._totals, self._tail, reason, revocations, members = self._threads.open()
        events.on_revocations(revocations)
        self.presence.restore(members)
        self._ticking.start(_TICK_SECONDS, now=False)
        if reason is not None:
            self._set_unavailable(reason)

    async def stop(self) -> None:
        """Commit pending requests, stop the threads and close the file."""
        self.presence.stop()
        if self._ticking.running:
            self._ticking.stop()
            self._is_stopping = True
            self._flush_submitted()
            self._threads.stop()
            await self._when_stopped

    def reconfigure(self, rules: ChannelRules) -> None:
        """See `pushd.backends.interface.Backend`, here and below."""
        retentions = self._retentions = Retentions(self._bounds, rules)
        self._tail.clear()
        self._threads.reconfigure(retentions)
        if self._ticking.running:  # if it fails, the file is reopened with these rules
            self._submit(RetentionRequest(retentions, *self._time())).addErrback(lambda failure: None)

    # Writes

    async def publish(self, drafts: Sequence[Draft], key: IdempotencyKey | None = None) -> list[PublishResult]:
        if not drafts:
            return []
        size = sum([len(draft.data) for draft in drafts])
        refusal = self._refusal(len(drafts), size)
        if refusal is not None:
            return [refusal.without_traceback() for _ in drafts]
        if not self._unanswered and not any(draft.keep for draft in drafts):
            return [self._deliver_ephemeral(draft) for draft in drafts]
        self._waiting += len(drafts)
        self._waiting_bytes += size
        try:
            results: list[PublishResult] = await self._submit(
                PublishRequest(drafts, size, *self._time(), self.hooks.events_of(drafts), key)
            )
            return results
        except Refusal as refused:
            return [refused.without_traceback() for _ in drafts]
        finally:
            self._waiting -= len(drafts)
            self._waiting_bytes -= size

    async def delete(self, channel: str) -> bool:
        return bool(await self._request(DeleteRequest(channel, *self._time())))

    async def revoke(self, revocation: Revocation) -> None:
        await self._request(RevokeRequest((revocation,), *self._time()))

    async def remember_url(self, digest: bytes, until: float) -> None:
        if self._urls.contains(digest, self._wall()):
            return
        await self._request(UrlRequest(digest, until, *self._time()))
        self._urls.add(digest, until, self._wall())

    # Reads

    async def open(self, topics: Sequence[str], since: Since) -> StartPosition:
        now, unix = self._threads.now(), self._wall()
        start = self._tail.open(topics, since, now)
        if start is None:
            start = await self._read(lambda reader: reader.open(topics, since, unix), now)
        return start

    async def page(
        self, topics: Sequence[str], after: MessageId, count: int, size: int, latest_until: MessageId | None = None
    ) -> Page:
        now = self._threads.now()
        is_latest = newest_upto(after, latest_until, self._tail.epoch) > 0
        page = None if is_latest else self._tail.page(topics, after, count, size, now)
        if page is None:
            page = await self._read(lambda reader: reader.page(topics, after, count, size, latest_until), now)
        return page

    async def info(self, channel: str) -> ChannelInfo | None:
        return await self._read(lambda reader: reader.info(channel))

    async def names(self, prefix: str, after: str, limit: int) -> list[str]:
        return await self._read(lambda reader: reader.names(prefix, after, limit))

    async def is_url_remembered(self, digest: bytes) -> bool:
        unix = self._wall()
        if self._urls.contains(digest, unix):
            return True
        return await self._read(lambda reader: reader.is_url_remembered(digest, unix))

    async def usage(self) -> Usage:
        totals = self._totals
        disk = DiskUsage(self._threads.size(), self._commits, self._failures, self._waiting)
        return Usage(totals.messages, totals.bytes, totals.channels, disk, record_bytes=totals.record_bytes)

    async def audience(self, channel: str) -> Audience:
        return self._events.local_audience(channel) if self._ticking.running else NOBODY

    def _position(self) -> MessageId:
        """Return the position of the newest message that was delivered."""
        return MessageId(self._tail.epoch, self._tail.head)

    # Requests to the threads

    def _refusal(self, messages: int = 0, size: int = 0) -> Refusal | None:
        """Return the refusal of a request; None to accept it. A request is accepted whatever its size if none waits."""
        if self._is_stopping:
            return Stopping("the daemon is shutting down")
        if self._unavailable_reason is not None:
            return self._storage_failed()
        is_full = self._waiting + messages > _MAX_WAITING or self._waiting_bytes + size > _MAX_WAITING_BYTES
        return Overloaded("too much data is waiting to be stored") if is_full and self._waiting else None

    def _time(self) -> tuple[float, float]:
        """Return unix seconds, and seconds of log time."""
        return self._wall(), self._threads.now()

    async def _request(self, request: Request) -> Any:
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        return await self._submit(request)

    def _submit(self, request: Request) -> "Deferred[Any]":
        waiting: Deferred[Any] = Deferred()
        # All requests of one reactor turn are submitted together: a thread that starts with the first one would compete
        # for the interpreter's lock with the reactor, which makes the others.
        if not self._submitted:
            self._reactor.callFromThread(self._flush_submitted)
        self._submitted.append(PendingRequest(request, waiting))
        self._unanswered += 1
        return waiting.addBoth(self._count_answer)

    def _count_answer(self, result: T) -> T:
        """Called with the answer to each request, after its messages were delivered."""
        self._unanswered -= 1
        if self._on_answered:
            waiting, self._on_answered = self._on_answered, []
            for each in waiting:
                self._reactor.callFromThread(each.callback, None)
        return result

    def _flush_submitted(self) -> None:
        pending, self._submitted = self._submitted, []
        if pending:
            self._threads.submit(pending)

    async def _read(self, query: Callable[[HistoryReader], T], now: float | None = None) -> T:
        try:
            result = await self._threads.read(query, self._threads.now() if now is None else now)
        except (sqlite3.Error, Damaged, BackendUnusable) as error:
            if self._is_stopping:
                raise Stopping("the daemon is shutting down") from error
            if isinstance(error, Damaged):
                self._threads.report_damage(error)
            self._tick()  # checks whether the files are still in place
            raise StorageFailed("the history cannot be read now") from error
        # The snapshot may include commits, and losses among their messages, that are not delivered yet: wait for them.
        while result.head > self._tail.head and self._unanswered:
            answered: Deferred[None] = Deferred()
            self._on_answered.append(answered)
            await answered
        for seq, channel in result.damaged:
            self._threads.report_damage(
                Damaged(f"message {seq} of channel {channel} fails its checksum and is skipped")
            )
        return result.value

    # Callbacks of the writer thread

    def _on_committed(self, pending: list[PendingRequest], result: CommitResult) -> None:
        self._commits += 1
        self._set_totals(result.totals)
        self._tail.drop_channels(result.dropped)
        self._threads.on_committed()
        for each, value in zip(pending, result.results, strict=True):
            self._deliver_safely(self._deliver, each.request, value)
            each.deferred.callback(value)
        self._deliver_safely(self._deliver_dead, result.dead, pending[-1].request.now)

    def _deliver_safely(self, deliver: Callable[..., None], *what: object) -> None:
        try:
            deliver(*what)
        except Exception:  # a bug in a callback; the request is committed nevertheless
            self.log.failure("Internal error while delivering a committed message")

    def _deliver(self, request: Request, result: Any) -> None:
        if isinstance(request, PublishRequest | PresenceRequest):
            for draft, message in zip(request.drafts, result, strict=True):
                if isinstance(message, Message):
                    if message.is_kept:
                        self._tail.add(message, request.now, self._ttl_of(draft))
                    self._events.deliver(message, draft.exclude)
            if request.hooks is not None:
                self.hooks.on_committed(request.hooks.bounds)
        elif isinstance(request, EventRequest):
            self.hooks.on_committed(request.bounds)
        elif isinstance(request, DeadLetterRequest):
            self._deliver_dead(result.messages, request.now)
        elif isinstance(request, RevokeRequest):
            self._events.on_revocations(request.revocations)
        elif isinstance(request, DeleteRequest) and result:
            self._tail.delete(request.name, result)
            self._events.on_deleted(request.name)

    def _deliver_dead(self, messages: Sequence[Message], now: float) -> None:
        for message in messages:
            self._tail.add(message, now, self._retentions.of(message.channel).age)
            self._events.on_message(message)

    def _ttl_of(self, draft: Draft) -> float | None:
        """Return the seconds after which the tail must not have a message; None for the age of all channels."""
        age = self._retentions.of(draft.channel).age if self._retentions.ages else None
        return draft.ttl if age is None or (draft.ttl is not None and draft.ttl < age) else age

    def _deliver_ephemeral(self, draft: Draft) -> Message:
        """Deliver an ephemeral message at once. If others are waiting for their commit, it is delivered after them."""
        message = unkept_message(draft, self._tail.epoch, self._tail.head, self._wall())
        self._events.deliver(message, draft.exclude)
        return message

    def _on_maintained(self, totals: LogTotals) -> None:
        self._set_totals(totals)
        self._threads.on_committed()

    def _on_failed(self, pending: list[PendingRequest], error: Exception) -> None:
        if pending:
            self._failures += 1
            self.log.warn("Commit failed; its messages are refused: {error!r}", error=error)
        self._set_unavailable(reason_for(error))
        if isinstance(error, Damaged):
            self._threads.report_damage(error)
        elif not isinstance(error, (sqlite3.Error, OSError, BackendUnusable)):
            self.log.failure("Internal error in the writer thread", _failure_of(error))
        self._on_refused(pending)

    def _on_refused(self, pending: list[PendingRequest]) -> None:
        for each in pending:
            each.deferred.errback(self._storage_failed())

    def _on_recovered(self, totals: LogTotals) -> None:
        last = self._totals
        if totals.epoch != last.epoch:
            self._events.on_resync(MessageId(last.epoch, last.head), None)
            self._tail = Tail(totals.epoch, self._bounds.age, totals.head, totals.newest_loss, ())
            self._urls.clear()
            self.presence.on_replaced()
        self._set_totals(totals)
        self._set_unavailable(None)

    def _on_stopped(self) -> None:
        self._threads.release()
        self._when_stopped.callback(None)

    def _set_totals(self, totals: LogTotals) -> None:
        self._totals = totals
        self._tail.raise_newest_loss(totals.newest_loss)

    def _set_unavailable(self, reason: str | None) -> None:
        self._unavailable_reason = reason
        self._events.on_health(reason)

    def _storage_failed(self) -> StorageFailed:
        return StorageFailed(f"the history cannot be written now: {self._unavailable_reason}")

    def _tick(self) -> None:
        if self._tick_is_done and not self._is_stopping:
            self._tick_is_done = False
            self.presence.save()
            self._submit(TickRequest(*self._time())).addBoth(self._ticked)

    def _ticked(self, result: object) -> None:
        self._tick_is_done = True


def _failure_of(error: Exception) -> Failure:
    return Failure(error)  # type: ignore[no-untyped-call]
