"""Scheduling: the time from publish to socket."""

from tests.hub.hub_fixture import HubFixture


async def test_the_latency_of_the_first_message_of_a_turn_is_observed_once() -> None:
    fixture = await HubFixture().start()
    await fixture.subscribe("a")
    fixture.clock.advance(60)
    await fixture.publish("a", "a")
    fixture.clock.advance(2)
    await fixture.publish("a")
    fixture.clock.advance(0)
    assert fixture.counters.latency.sum == 2
    assert sum(fixture.counters.latency.counts) == 2
