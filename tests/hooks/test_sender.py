"""The sender of a hook: the right to send, repeats, confirmations that fail, and new events."""

import json
from collections.abc import Sequence
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pushd.backends.hook_outbox import ACQUIRED_SECONDS, UNSHARED, HookEvent, QueuedEvent, SharedHookState
from pushd.backends.memory_outbox import MemoryOutbox
from pushd.core.errors import Unavailable
from pushd.hooks.endpoint import HookEndpoint
from pushd.hooks.sender import HookSender, SenderState, SenderTools
from pushd.metrics import Counters
from pushd.net.outgoing_requests import OutgoingRequest, RequestFailed
from pushd.net.turn_slices import Slices

ENDPOINT = HookEndpoint("app", "https://app.example.org/", (bytes(32),), frozenset(("publish",)), ("**",))


class SharedOutbox(MemoryOutbox):
    """An outbox whose right to send the test grants, and that can fail."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(lambda draft: None, Slices(clock), clock.seconds)
        self.grants: bool | Unavailable = True
        self.released = 0
        self.failure: Unavailable | None = None
        self.shared = UNSHARED

    async def acquire(self, hook: str) -> bool:
        if isinstance(self.grants, Unavailable):
            raise self.grants
        return self.grants and not self.shared.is_disabled

    async def disable(self, hook: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.shared = self.shared._replace(is_disabled=True)

    async def resume(self, hook: str) -> None:
        self.shared = SharedHookState(False, self.shared.resumed + 1)

    def shared_state(self, hook: str) -> SharedHookState:
        return self.shared

    def release(self, hook: str) -> None:
        self.released += 1

    async def first(self, hook: str, count: int, size: int) -> Sequence[QueuedEvent]:
        if self.failure is not None:
            raise self.failure
        return await super().first(hook, count, size)

    async def confirm(self, hook: str, through: int) -> None:
        if self.failure is not None:
            raise self.failure
        await super().confirm(hook, through)


class Scene:
    """A sender whose requests the test answers."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.outbox = SharedOutbox(self.clock)
        self.requests: list[OutgoingRequest] = []
        self.answers: list[Deferred[bytes]] = []
        self.counters = Counters()
        tools = SenderTools(self.outbox, self._send, self.clock, self.clock.seconds, lambda: 1.0, self.counters)
        self.sender = HookSender(ENDPOINT, tools)
        self.outbox.reconfigure({}, None, lambda name: self.sender.wake())

    async def _send(self, request: OutgoingRequest) -> bytes:
        self.requests.append(request)
        answer: Deferred[bytes] = Deferred()
        self.answers.append(answer)
        try:
            return await answer
        except RequestFailed:
            raise
        except Exception as error:  # as `send_request` does
            raise RequestFailed(str(error)) from None

    async def add(self, *numbers: int) -> None:
        await self.outbox.add([HookEvent("app", "room", b'{"id":"%d"}' % number) for number in numbers])

    def sent(self) -> list[list[int]]:
        return [[int(event["id"]) for event in json.loads(each.body or b"")["events"]] for each in self.requests]

    def confirm(self) -> None:
        self.answers[-1].callback(b"")
        self.clock.advance(0)

    def fail(self, **options: Any) -> None:
        self.answers[-1].errback(RequestFailed("it fails", **options))


async def started() -> Scene:
    """Return a scene with a sender that has the right to send."""
    scene = Scene()
    scene.sender.start()
    scene.clock.advance(0)
    return scene


@pytest_twisted.ensureDeferred
async def test_new_events_wait_for_the_request_under_way() -> None:
    scene = await started()
    assert scene.sender.state is SenderState.IDLE
    await scene.add(1)
    scene.clock.advance(0)
    await scene.add(2, 3)
    scene.clock.pump([0, 0.5, 0.5])
    assert scene.sent() == [[1]]
    scene.confirm()
    assert scene.sent() == [[1], [2, 3]]
    scene.confirm()
    assert scene.sender.state is SenderState.IDLE
    assert scene.counters.hook_sent == {"app": 3}


@pytest_twisted.ensureDeferred
async def test_a_repeat_has_the_same_events_and_id_although_there_are_more() -> None:
    scene = await started()
    await scene.add(1)
    scene.clock.advance(0)
    scene.fail(kind="status", status=500)
    await scene.add(2)
    scene.clock.advance(0.9)
    assert scene.sent() == [[1]]
    scene.clock.advance(0.1)
    assert scene.sent() == [[1], [1]]
    first, second = scene.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    scene.confirm()
    assert scene.sent()[2:] == [[2]]


@pytest_twisted.ensureDeferred
async def test_a_confirmation_that_is_not_stored_is_repeated_and_the_request_is_not() -> None:
    scene = await started()
    await scene.add(1)
    scene.clock.advance(0)
    scene.outbox.failure = Unavailable("away")
    scene.confirm()
    scene.clock.advance(2)
    scene.outbox.failure = None
    scene.clock.advance(2)
    assert scene.sent() == [[1]]
    assert (await scene.outbox.backlog("app")).events == 0


@pytest_twisted.ensureDeferred
async def test_request_is_cancelled_when_the_right_to_send_is_lost() -> None:
    scene = await started()
    await scene.add(1)
    scene.clock.advance(0)
    scene.outbox.grants = False
    scene.clock.advance(3)
    assert (scene.sender.state, scene.sent(), scene.sender.failures) == (SenderState.STANDBY, [[1]], 0)
    assert scene.answers[0].called
    scene.clock.pump([1] * 60)
    assert scene.sent() == [[1]]
    scene.outbox.grants = True
    scene.clock.advance(3)
    scene.clock.advance(0)
    assert scene.sent() == [[1], [1]]


@pytest_twisted.ensureDeferred
async def test_right_to_send_ends_before_another_node_may_have_it() -> None:
    scene = await started()
    await scene.add(1)
    scene.clock.advance(0)
    scene.outbox.grants = Unavailable("away")
    granted_until = ACQUIRED_SECONDS
    while not scene.answers[0].called:
        scene.clock.advance(0.5)
    assert scene.clock.seconds() < granted_until
    assert scene.sender.state is SenderState.STANDBY


@pytest_twisted.ensureDeferred
async def test_nothing_is_sent_to_a_receiver_that_is_gone_until_it_is_resumed() -> None:
    scene = await started()
    await scene.add(1)
    scene.clock.advance(0)
    scene.fail(kind="status", status=410)
    assert scene.sender.state is SenderState.DISABLED
    await scene.add(2)
    scene.clock.pump([10] * 100)
    assert scene.sent() == [[1]]
    await scene.outbox.resume("app")
    scene.sender.resume()
    scene.clock.advance(0)
    assert scene.sent() == [[1], [1, 2]]


@pytest_twisted.ensureDeferred
async def test_resume_ends_a_pause() -> None:
    scene = await started()
    await scene.add(1)
    scene.clock.advance(0)
    scene.fail(kind="status", status=503, retry_after="86400")
    assert scene.sender.retry_at == 86400
    scene.clock.advance(3600)
    assert scene.sent() == [[1]]
    scene.sender.resume()
    scene.clock.advance(0)
    assert scene.sent() == [[1], [1]]


@pytest_twisted.ensureDeferred
async def test_retry_after_of_other_statuses_is_ignored() -> None:
    scene = await started()
    await scene.add(1)
    scene.clock.advance(0)
    scene.fail(kind="status", status=500, retry_after="86400")
    assert scene.sender.retry_at == 1


@pytest_twisted.ensureDeferred
async def test_stop_cancels_the_request() -> None:
    scene = await started()
    await scene.add(1)
    scene.clock.advance(0)
    scene.sender.stop()
    assert scene.answers[0].called
    assert scene.outbox.released == 1
    assert scene.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_events_of_other_nodes_are_found() -> None:
    scene = await started()
    scene.outbox.reconfigure({}, None, lambda name: None)
    await scene.add(1)
    scene.clock.advance(1)
    assert scene.sent() == [[1]]


# Several nodes


@pytest_twisted.ensureDeferred
async def test_receiver_that_is_gone_for_one_node_is_gone_for_all() -> None:
    one = await started()
    await one.add(1)
    one.clock.advance(0)
    one.fail(kind="status", status=410)
    assert one.outbox.shared_state("app").is_disabled
    other = Scene()
    other.outbox.shared = one.outbox.shared
    await other.add(1)
    other.sender.start()
    other.clock.pump([1] * 100)
    assert (other.sender.state, other.sent()) == (SenderState.DISABLED, [])
    await other.outbox.resume("app")
    other.clock.pump([0, 3, 0])
    assert other.sent() == [[1]]
    one.outbox.shared = other.outbox.shared
    one.outbox.grants = False
    one.clock.pump([0, 3, 0])
    assert (one.sender.state, one.sent()) == (SenderState.STANDBY, [[1]])


@pytest_twisted.ensureDeferred
async def test_replay_at_another_node_ends_a_pause() -> None:
    scene = await started()
    await scene.add(1)
    scene.clock.advance(0)
    scene.fail(kind="status", status=503, retry_after="86400")
    scene.clock.advance(3600)
    await scene.outbox.resume("app")
    scene.clock.pump([3, 0])
    assert scene.sent() == [[1], [1]]


@pytest_twisted.ensureDeferred
async def test_request_is_repeated_if_it_cannot_be_stored_that_the_receiver_is_gone() -> None:
    scene = await started()
    await scene.add(1)
    scene.clock.advance(0)
    scene.outbox.failure = Unavailable("away")
    scene.fail(kind="status", status=410)
    assert scene.sender.state is not SenderState.DISABLED
    scene.outbox.failure = None
    scene.clock.advance(2)
    assert scene.sent() == [[1], [1]]
