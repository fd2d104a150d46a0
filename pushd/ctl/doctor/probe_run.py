"""One run of the doctor: all transports subscribe to one channel and receive messages before and after a silence."""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Condition
from typing import NamedTuple

from pushd.ctl.api_client import ApiClient
from pushd.ctl.doctor.checks import CHECKS, STRANGER
from pushd.ctl.doctor.diagnosis import (
    Problem,
    diagnose,
    diagnose_addresses,
    diagnose_body,
    diagnose_publish,
    min_delay,
)
from pushd.ctl.doctor.observation import PublishTimes, Response
from pushd.ctl.doctor.probe_publisher import BODY_BYTES, ProbePublisher
from pushd.ctl.doctor.probe_subscriber import PROBE_TRANSPORTS, ProbeSubscriber
from pushd.ctl.doctor.stranger import Note, find_permissions
from pushd.ctl.raw_connections import connect

_ARRIVAL_SECONDS = 2.0
"""Time allowed for a message to arrive."""
_LIVE_MESSAGES = 4
"""Number of live messages; the fastest counts, because each may be delayed by a busy machine."""
_LIVE_INTERVAL_SECONDS = 0.4
"""Interval between them: longer than the 200 ms that TCP may delay a packet."""
_MARGIN_SECONDS = 60.0
"""Time beyond the silence, for everything before and after it."""


class Finding(NamedTuple):
    """The result of one check."""

    name: str
    problems: Sequence[Problem]
    summary: str
    """Description of the result if there is no problem."""
    status: int | None
    seconds: float | None
    """Shortest delay of a message, or duration of the request."""
    notes: Sequence[Note] = ()
    """What is no problem, but should be known."""


class ProbeReport(NamedTuple):
    """The results of a probe run."""

    findings: Sequence[Finding]
    servers: frozenset[str]
    """Values of the ``Server`` and ``Via`` headers of all responses."""
    has_published: bool
    """Whether messages could be published, if that was needed; if not, no transport was checked."""
    leftover_channel: str | None
    """Name of the channel if it could not be deleted."""


def probe(
    through: ApiClient, direct: ApiClient, only: Sequence[str], idle: float, progress: Callable[[str], None]
) -> ProbeReport:
    """Check the proxies in front of pushd, and delete the channel that was used.

    :param through: the address to check.
    :param direct: pushd itself, to publish to if the proxies do not allow publishing.
    :param only: names of the checks to report.
    :param idle: length of the silence in seconds.
    :param progress: called with a description of the current step.
    :raises Unreachable: when `through` cannot be connected to.
    :raises CtlError: when the file of the token cannot be read.
    """
    if tuple(only) == (STRANGER,):
        connect(through.address).close()
        return ProbeReport([_stranger_finding(through, progress)], frozenset(), True, None)
    run = _ProbeRun(through, direct, only, idle, progress)
    is_deleted = True
    try:
        findings = run.findings()
    finally:
        is_deleted = run.close()
    if STRANGER in only:
        findings.append(_stranger_finding(through, progress))
    selected = sorted(
        (finding for finding in findings if finding.name in only), key=lambda each: CHECKS.index(each.name)
    )
    return ProbeReport(selected, run.servers, run.has_published, None if is_deleted else run.channel)


def _stranger_finding(through: ApiClient, progress: Callable[[str], None]) -> Finding:
    progress("asking without a token")
    notes = find_permissions(through).notes()
    return Finding(STRANGER, (), "whatever was tried without a token was refused", None, None, notes)


class _ProbeRun:
    def __init__(
        self, through: ApiClient, direct: ApiClient, only: Sequence[str], idle: float, progress: Callable[[str], None]
    ) -> None:
        run_id = secrets.token_hex(8)
        self._history_marker, *self._live_markers, self._last_marker = markers = tuple(
            f"{marker}-{run_id}"
            for marker in ("before", *(f"live{number}" for number in range(_LIVE_MESSAGES)), "last")
        )
        self.channel = f"doctor/{run_id}"
        transports = [transport for transport in PROBE_TRANSPORTS if transport.name in only]
        self._only, self._idle, self._progress = only, idle if transports else 0.0, progress
        self._seen_addresses: set[str] = set()
        self._publisher = ProbePublisher(through, direct, self.channel, idle + 2 * _MARGIN_SECONDS)
        self._changed = Condition()
        self._subscribers = [
            ProbeSubscriber(transport, through, self.channel, markers, self._changed, idle + _MARGIN_SECONDS)
            for transport in transports or PROBE_TRANSPORTS[:1]
        ]

    @property
    def servers(self) -> frozenset[str]:
        """Values of the ``Server`` and ``Via`` headers of all responses."""
        return frozenset(self._publisher.servers).union(*(subscriber.servers for subscriber in self._subscribers))

    @property
    def has_published(self) -> bool:
        """Whether messages could be published."""
        return self._publisher.can_publish

    def close(self) -> bool:
        """Close all subscribers and delete the channel; return whether it no longer exists."""
        for subscriber in self._subscribers:
            subscriber.close()
        return self._publisher.delete_channel()

    def findings(self) -> list[Finding]:
        """Run all steps and return the results."""
        self._progress("publishing")
        self._publisher.publish_first(self._history_marker)
        if not self._publisher.can_publish:
            return [self._publish_finding()]
        body_response = self._publisher.send_large_body() if "body" in self._only else None
        times = self._run_subscribers()
        received = [self._subscriber_finding(subscriber, times) for subscriber in self._subscribers]
        return [self._publish_finding(), *_body_findings(body_response), *self._address_findings(), *received]

    def _run_subscribers(self) -> PublishTimes:
        self._progress("subscribing")
        for subscriber in self._subscribers:
            subscriber.start()
        self._wait_for(self._history_marker, _ARRIVAL_SECONDS / 2)
        # Early, before a proxy closes connections that have received nothing.
        self._seen_addresses = self._publisher.client_addresses()
        self._wait_for(self._history_marker, _ARRIVAL_SECONDS / 2)
        live = {}
        for marker in self._live_markers:
            if self._publisher.publish(marker):
                live[marker] = time.monotonic()
                time.sleep(_LIVE_INTERVAL_SECONDS)
        if live:
            self._wait_for(list(live)[-1])
        self._stay_idle()
        last = time.monotonic()
        has_last = self._publisher.publish(self._last_marker, end=True)
        self._wait_for(self._last_marker)
        return PublishTimes(self._history_marker, live, last, self._last_marker if has_last else None, self._idle)

    def _wait_for(self, marker: str, seconds: float = _ARRIVAL_SECONDS) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: all(
                    subscriber.is_finished or subscriber.has_received(marker) for subscriber in self._subscribers
                ),
                seconds,
            )

    def _stay_idle(self) -> None:
        start = time.monotonic()
        with self._changed:
            while (elapsed := time.monotonic() - start) < self._idle:
                self._progress(f"silence: {elapsed:.0f} of {self._idle:.0f} s")
                if self._changed.wait_for(self._have_all_finished, min(1.0, self._idle - elapsed)):
                    return

    def _have_all_finished(self) -> bool:
        return all(subscriber.is_finished for subscriber in self._subscribers)

    def _publish_finding(self) -> Finding:
        responses = self._publisher.responses
        problems = diagnose_publish(responses, self._publisher.later_refusal)
        summary = f"a page may publish, response after {responses[0].seconds * 1000:.0f} ms"
        return Finding("publish", problems, summary, responses[0].status, responses[0].seconds)

    def _address_findings(self) -> Iterator[Finding]:
        local = {subscriber.local_address for subscriber in self._subscribers if subscriber.local_address}
        if self._seen_addresses and local:
            summary = f"pushd sees this client as {', '.join(sorted(self._seen_addresses))}"
            yield Finding("address", diagnose_addresses(self._seen_addresses, local), summary, None, None)

    def _subscriber_finding(self, subscriber: ProbeSubscriber, times: PublishTimes) -> Finding:
        observation = subscriber.observation
        shortest = min_delay(observation, times)
        summary = (
            f"fastest message after {(shortest or 0) * 1000:.0f} ms, still open after {self._idle:.0f} s of silence"
        )
        status = observation.response.status if observation.response else None
        return Finding(observation.name, diagnose(observation, times), summary, status, shortest)


def _body_findings(response: Response | None) -> Iterator[Finding]:
    if response is not None:
        summary = f"body of {BODY_BYTES >> 20} MiB is accepted"
        yield Finding("body", diagnose_body(response, BODY_BYTES), summary, response.status, response.seconds)
