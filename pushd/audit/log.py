"""Writes the audit log: one JSON object per line. It has no token, no secret, and no message.

Events that peers cause at will, refusals and renewals, are limited: the first of a kind is written at once, the others
of the next minute as one line with their number. What operators do is always written.
"""

import json
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pushd.audit.output import AuditFile, AuditOutput
from pushd.audit.repeats import MAX_KINDS, Fields, Repeats
from pushd.core.errors import AccessRefused
from pushd.core.identity import Identity
from pushd.core.peer import Peer
from pushd.core.revocations import Revocation
from pushd.core.timestamp import utc_text

SUMMARY_SECONDS: Final = 60
"""How often repeated events are written as one line."""
_MAX_CHARACTERS: Final = 1024
"""The most characters of a string; topics and subjects are shorter."""


class AuditLog:
    """The audit log, which is off until it is opened.

    :param wall: returns unix seconds.
    :param open_output: opens what a setting names; raises OSError.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        wall: Callable[[], float],
        open_output: Callable[[str], AuditOutput] = AuditFile,
        max_kinds: int = MAX_KINDS,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._open_output = open_output
        self._name = ""
        self._output: AuditOutput | None = None
        self._repeats = Repeats(max_kinds)
        self._summary: IDelayedCall | None = None
        self._lost = 0
        """The events that could not be written since the last that was."""

    # Lifecycle

    def open(self, name: str) -> None:
        """Write to another file from now on.

        :param name: a path, ``-`` for standard output; empty: the log is off.
        :raises OSError: when it cannot be opened; then nothing changes.
        """
        if name == self._name:
            return
        output = self._open_output(name) if name else None
        self.close()
        self._name, self._output = name, output

    def reopen(self) -> bool:
        """Open the file anew, since another program may have renamed it; return whether there is an audit log.

        If that fails, the previous file stays in use.
        """
        if self._output is None:
            return False
        try:
            self._output.reopen()
        except OSError as error:
            self.log.error(
                "Audit log {name} not opened anew, the previous file stays in use: {reason}",
                name=self._name,
                reason=error.strerror,
            )
        return True

    def close(self) -> None:
        """Write what was only counted, and switch the log off."""
        self._summarize()
        output, self._output, self._name = self._output, None, ""
        if output is not None:
            output.close()

    # Events that peers cause

    def refused(self, refusal: AccessRefused, peer: Peer) -> None:
        """Record that a credential is not accepted, or does not allow what was requested."""
        if self._output is not None:
            fields = _fields("refused", peer, code=refusal.code, action=refusal.action, topic=refusal.topic)
            if peer.identity is None:
                fields["sub"] = refusal.subject
            kind = ("refused", refusal.code, refusal.action, fields["sub"], _source(peer), peer.transport)
            self._record_repeated(kind, fields)

    def renewed(self, peer: Peer, identity: Identity) -> None:
        """Record that the credential of an open connection was replaced by a newer one of the same subject."""
        if self._output is not None:
            fields = _fields("renewed", peer, token=identity.token_id, expires=identity.expires)
            kind = ("renewed", identity.issuer, identity.subject, _source(peer), peer.transport)
            self._record_repeated(kind, fields)

    # What operators do

    def revoked(self, peer: Peer, revocation: Revocation) -> None:
        """Record that credentials were revoked."""
        revoked = {"kind": revocation.kind, "value": revocation.value, "before": revocation.before}
        until, reason = revocation.until, revocation.reason
        self._record(_fields("revoked", peer, action="revoke", **revoked, until=until, reason=reason))

    def kicked(self, peer: Peer, target: Peer) -> None:
        """Record that a connection was closed by an operator."""
        kicked = {f"kicked_{name}": value for name, value in _actor(target).items()}
        self._record(_fields("kicked", peer, action="kick", **kicked))

    def kicked_subject(self, peer: Peer, subject: str, closed: int) -> None:
        """Record that the connections of a subject were closed by an operator.

        :param closed: how many there were.
        """
        self._record(_fields("kicked", peer, action="kick", kicked_sub=subject, closed=closed))

    def deleted(self, peer: Peer, channel: str) -> None:
        """Record that a channel was deleted."""
        self._record(_fields("deleted", peer, action="manage", topic=channel))

    def removed(self, peer: Peer, channel: str, member: str) -> None:
        """Record that the lease of a member other than the peer itself was ended."""
        self._record(_fields("removed", peer, action="manage", topic=channel, member=member))

    def token_changed(self, event: str, identity: Identity) -> None:
        """Record that a static token was added to its file, changed or removed, as a reload shows.

        :param event: a `TokenChange`.
        """
        self._record({"event": event, "sub": identity.subject, "issuer": identity.issuer, "token": identity.token_id})

    # Lines

    def _record_repeated(self, kind: tuple[object, ...], fields: dict[str, object]) -> None:
        if self._repeats.is_first(kind, str(fields["event"]), _text(fields["code"]), fields):
            self._record(fields)
        if self._summary is None:
            self._summary = self._clock.callLater(SUMMARY_SECONDS, self._summarize)

    def _summarize(self) -> None:
        """Write one line for each kind of event that was repeated."""
        summary, self._summary = self._summary, None
        if summary is not None and summary.active():
            summary.cancel()
        for fields, count in self._repeats.take():
            self._record(fields, count)

    def _record(self, fields: Fields, count: int = 1) -> None:
        if self._output is None:
            return
        if self._lost and not self._write({"event": "lost"}, self._lost):
            self._lost += count
            return
        if not self._write(fields, count):
            self._lost += count

    def _write(self, fields: Fields, count: int) -> bool:
        """Write a line; return whether that was possible. The first failure is logged."""
        record = {"time": utc_text(self._wall())} | {name: _bounded(value) for name, value in fields.items()}
        output = self._output
        try:
            if output is not None:
                # Only ASCII, without control characters: no value can end the line or forge a field.
                line = json.dumps(record | {"count": count}, separators=(",", ":"))
                output.write(line.encode("ascii") + b"\n")
        except OSError as error:
            if not self._lost:
                reason = error.strerror or str(error)
                self.log.error("Audit log {name} cannot be written: {reason}", name=self._name, reason=reason)
            return False
        if fields["event"] == "lost":
            self.log.error(
                "Audit log {name} can be written again; {count} events are lost", name=self._name, count=count
            )
            self._lost = 0
        return True


def _fields(event: str, peer: Peer, **more: object) -> dict[str, object]:
    """Return the fields of an event that a peer has caused."""
    return {"event": event, "code": None, "action": None, "topic": None, **_actor(peer), **more}


def _actor(peer: Peer) -> dict[str, object]:
    """Return the fields about who has done something."""
    identity = peer.identity
    return {
        "sub": None if identity is None else identity.subject,
        "issuer": peer.issuer,
        "address": peer.address,
        "transport": peer.transport,
        "connection": peer.id or None,
    }


def _source(peer: Peer) -> str:
    """Return what tells peers without a subject apart: who has many IPv6 addresses has one network."""
    return peer.network or peer.address


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _bounded(value: object) -> object:
    return value[:_MAX_CHARACTERS] if isinstance(value, str) else value
