"""The members of a SQLite backend: those that are there are in memory, and in the file as of their last event.

A change is in effect at once. Its row and its event are committed together. If that fails, the change waits for the
next diff of its channel, so the file is always as a replay of its events would be.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred

from pushd.backends.local_presence import LocalPresence
from pushd.backends.sqlite.writer_requests import PresenceRequest, PublishEvents
from pushd.core.errors import Refusal
from pushd.core.message import Draft
from pushd.core.presence import Change, Leave, PresenceEvent, Row

_SAVED_AT_ONCE = 5000
"""Rows without an event that are written in one transaction: about 20 ms."""


class SqlitePresence(LocalPresence):
    """See the module.

    :param submit: submits a request to the writer thread.
    :param refusal: returns why requests are refused now; None when they are accepted.
    :param events_of: returns the hooks with events of messages.
    """

    def __init__(
        self,
        submit: Callable[[PresenceRequest], Awaitable[Any]],
        refusal: Callable[[], Refusal | None],
        events_of: Callable[[Sequence[Draft]], PublishEvents | None],
        *arguments: Any,
    ) -> None:
        super().__init__(*arguments)
        self._submit = submit
        self._refusal = refusal
        self._events_of = events_of
        self._must_replace = False
        """Whether the file may have other members, because it was replaced."""
        self._unsaved: set[tuple[str, str]] = set()
        """The members whose rows are still to be written."""

    async def apply(self, changes: Sequence[Change]) -> None:
        """See `pushd.backends.presence.PresenceBackend`."""
        if any(not isinstance(change, Leave) for change in changes) and (refusal := self._refusal()) is not None:
            raise refusal
        await super().apply(changes)

    async def publish(self, events: Sequence[PresenceEvent]) -> None:
        """See `LocalPresence`."""
        if events:
            await self._commit(events, {(event.channel, each.member.id) for event in events for each in event.changes})

    def publish_later(self, events: Sequence[PresenceEvent]) -> None:
        """See `LocalPresence`."""
        if events:
            Deferred.fromCoroutine(self._publish_quietly(events))

    def save(self) -> None:
        """Write the rows that have changed without an event. Called every second."""
        members = self._unsaved | self.state.take_unsaved()
        self._unsaved = {member for member in members if not self.state.is_waiting(*member)}
        if self._refusal() is not None or not (self._unsaved or self._must_replace):
            return
        some = set(list(self._unsaved)[:_SAVED_AT_ONCE])
        self._unsaved -= some
        Deferred.fromCoroutine(self._save(some))

    def on_replaced(self) -> None:
        """Called when the file has another epoch: its members may be others."""
        self._must_replace = True

    async def _save(self, members: set[tuple[str, str]]) -> None:
        with suppress(Refusal):
            await self._commit((), members)

    async def _publish_quietly(self, events: Sequence[PresenceEvent]) -> None:
        with suppress(Refusal):  # the events are part of the next diffs
            await self.publish(events)

    async def _commit(self, events: Sequence[PresenceEvent], members: set[tuple[str, str]]) -> None:
        """Commit events and rows together.

        :raises Refusal: when that fails; the events are put back.
        """
        is_complete, self._must_replace = self._must_replace, False
        rows, deleted = self._rows(members)
        time, now = self._wall(), self._now()
        drafts = [self.draft(event) for event in events]
        rows = list(self.state.rows()) if is_complete else rows
        request = PresenceRequest(drafts, rows, deleted, is_complete, time, now, self._events_of(drafts))
        try:
            refusal = self._refusal()
            if refusal is not None:
                raise refusal
            results = await self._submit(request)
        except Refusal:
            self._must_replace |= is_complete
            if not events:
                self._unsaved |= members
            self.put_back(events)
            raise
        self.put_back([event for event, result in zip(events, results, strict=True) if isinstance(result, Refusal)])

    def _rows(self, members: set[tuple[str, str]]) -> tuple[list[Row], list[tuple[str, str]]]:
        """Return the rows of members, and the members of which there is none."""
        rows: list[Row] = []
        deleted: list[tuple[str, str]] = []
        for channel, id in members:
            row = self.state.row(channel, id)
            if row is None:
                deleted.append((channel, id))
            else:
                rows.append(row)
        return rows, deleted
