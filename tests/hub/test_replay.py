"""Replays: pages of the history, while the backend is available."""

from tests.hub.hub_fixture import HubFixture


async def test_a_replay_waits_while_the_backend_is_unavailable() -> None:
    fixture = await HubFixture().start()
    await fixture.publish("a")
    peer = await fixture.subscribe("a")
    fixture.backend.is_unavailable = True
    fixture.backend.lose_history()
    fixture.turn()
    assert (peer.received, peer.closed_with) == ([], None)
    fixture.backend.is_unavailable = False
    fixture.clock.advance(1)
    fixture.turn()
    assert peer.received == ["gap:a:E-1:F-0:epoch"]
