"""Reports and claims of quotas over nodes: few calls, in order, made up for after a failure, and bounded."""

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred

from pushd.core.errors import Stopping, Unavailable
from pushd.core.subscriber import Subscriber
from pushd.core.usage import UsageReply, UsageReport
from pushd.hub import shared_quotas
from tests.hub.hub_fixture import HubFixture
from tests.hub.test_quotas import add, identity_of


class Calls:
    """The calls of `report_usage`."""

    def __init__(self, fixture: HubFixture) -> None:
        self.reports: list[Sequence[UsageReport]] = []
        self.waiting: Deferred[None] | None = None
        self.is_away = False
        self._report = fixture.backend.report_usage
        fixture.backend.has_nodes = True
        fixture.backend.report_usage = self.report_usage  # type: ignore[method-assign]

    async def report_usage(self, reports: Sequence[UsageReport]) -> Sequence[UsageReply]:
        """See `Backend.report_usage`."""
        self.reports.append(reports)
        if self.waiting is not None:
            await self.waiting
        if self.is_away:
            raise Unavailable("away")
        return await self._report(reports)

    @property
    def stored(self) -> dict[str | None, tuple[int, int]]:
        """What was reported last, without claims, by subject."""
        return {each.key[1]: (each.connections, each.subscriptions) for some in self.reports for each in some}


async def started() -> tuple[HubFixture, Calls]:
    """Return a started hub, and its calls."""
    fixture = await HubFixture().start()
    return fixture, Calls(fixture)


def many(fixture: HubFixture, count: int) -> list[Subscriber]:
    """Add a connection for each of many subjects."""
    return [add(fixture, identity_of(f"user{number}")) for number in range(count)]


async def test_connection_and_its_topics_are_claimed_in_one_call() -> None:
    fixture, calls = await started()
    calls.waiting = Deferred()
    subscribing = Deferred.fromCoroutine(fixture.hub.subscribe(add(fixture, identity_of("alice")), ("a", "b")))
    calls.waiting.callback(None)
    await subscribing
    fixture.turn()
    ((report,),) = calls.reports
    assert [each[:2] for each in report.claims] == [(1, 0), (0, 2)]


async def test_many_connections_at_once_make_few_calls() -> None:
    fixture, calls = await started()
    subscribers = many(fixture, 1000)
    fixture.turn()
    assert [len(each) for each in calls.reports] == [200] * 5
    calls.waiting = Deferred()
    for subscriber in subscribers:
        fixture.hub.remove(subscriber)
    calls.waiting.callback(None)
    assert [len(each) for each in calls.reports[5:]] == [1, 200, 200, 200, 200, 199]
    assert set(calls.stored.values()) == {(0, 0)}
    assert not fixture.hub._quotas.shared_keys()


async def test_changes_during_a_failure_are_made_up_for() -> None:
    fixture, calls = await started()
    subscriber = add(fixture, identity_of("alice"))
    fixture.turn()
    calls.is_away = True
    await fixture.hub.subscribe(subscriber, ("a", "b"))
    for _ in range(3):
        fixture.clock.advance(1)
    fixture.hub.unsubscribe(subscriber, ("a",))
    assert len(calls.reports) == 5
    calls.is_away = False
    fixture.clock.advance(1)
    assert calls.stored == {"alice": (1, 1)}
    fixture.clock.advance(10)
    assert len(calls.reports) == 6


async def test_what_waits_during_a_failure_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_quotas, "_MAX_CHANGED", 100)
    fixture, calls = await started()
    calls.is_away = True
    kept = add(fixture, identity_of("alice"))
    for number in range(1000):
        subscriber = add(fixture, identity_of(f"user{number}"))
        fixture.turn()
        fixture.hub.remove(subscriber)
    assert len(fixture.hub.shared_quotas._changed) <= 101
    assert len(fixture.hub._quotas.shared_keys()) <= 102
    calls.is_away, calls.reports = False, []
    fixture.clock.advance(1)
    assert calls.stored["alice"] == (1, 0)
    assert not kept.is_closed


async def test_claims_that_wait_when_a_call_fails_are_granted() -> None:
    fixture, calls = await started()
    calls.waiting = Deferred()
    many(fixture, 300)
    fixture.turn()
    calls.is_away = True
    calls.waiting.callback(None)
    assert len(calls.reports) == 1
    assert not fixture.hub.shared_quotas._opening


async def test_everything_is_reported_again_when_it_may_be_lost() -> None:
    fixture, calls = await started()
    many(fixture, 3)
    fixture.turn()
    calls.reports = []
    await fixture.hub.shared_quotas.restore()
    assert calls.stored == {f"user{number}": (1, 0) for number in range(3)}
    calls.is_away = True
    with pytest.raises(Unavailable):
        await fixture.hub.shared_quotas.restore()


async def test_stop_waits_for_nothing() -> None:
    fixture, calls = await started()
    calls.waiting = Deferred()
    many(fixture, 3)
    fixture.turn()
    subscriber = add(fixture, identity_of("alice"))
    subscribing = Deferred.fromCoroutine(fixture.hub.subscribe(subscriber, ("a",)))
    restoring = Deferred.fromCoroutine(fixture.hub.shared_quotas.restore())
    await fixture.hub.stop()
    assert subscribing.called
    with pytest.raises(Stopping):
        await restoring
    await subscribing
    calls.waiting.callback(None)
    assert fixture.clock.getDelayedCalls() == []
