"""The effect of stalled readers on the others."""

from collections.abc import Mapping, Sequence

from bench.cases.interface import Case, Column, Scale
from bench.peers.interface import Server
from bench.peers.pushd import Pushd
from bench.testbed import Scenario, Testbed

ALONE, AMONG = "without stalled readers", "with a tenth stalled"


class Stalled(Case):
    """A tenth of the subscribers never reads."""

    name = "stalled"
    title = "Stalled readers"
    about = (
        "A tenth of the subscribers do not read after subscribing. Their policy is `drop`, so they stay connected. The"
        " other rows are without them. First, bursts of messages of 1,000 bytes fill the socket buffers and the queues"
        " of the stalled subscribers. Then the others are measured, at 50 messages per second and with one message"
        " after the other. Memory is the growth of the server since all subscribed; dropped are the messages that the"
        " queues of the stalled subscribers had no room for."
    )
    columns: Sequence[Column] = (
        Column("p99", "p99 ms", 2),
        Column("rate", "publishes per second", 1),
        Column("micros", "CPU µs per delivery", 2),
        Column("mib", "MiB grown", 1),
        Column("dropped", "dropped", 0),
    )
    group = "stalled"
    seconds = 75
    _FILL_BURSTS, _FILL_ROUNDS = 40, 5

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """See `Case`."""
        stalled = scale.subscribers // 10
        reading = scale.subscribers - stalled
        return [
            Scenario("pushd", transport, reading, count, topic=topic, size=1000, note=note)
            for transport, topic in (("SSE", "bench?slow=drop"), ("TCP", "bench slow=drop"))
            for count, note in ((0, ALONE), (stalled, AMONG))
        ]

    def prepare(self, testbed: Testbed, scale: Scale) -> None:
        """See `Case`."""
        # After 100 dropped messages the queue of a stalled reader is full; how many fit before depends on the kernel.
        enough = 100 * testbed.scenario.stalled
        for _ in range(self._FILL_ROUNDS):
            testbed.run(self._FILL_BURSTS, burst=50)
            if enough and _dropped(testbed.server) >= enough:
                return

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        paced = testbed.run(scale.times(100), rate=50)
        back_to_back = testbed.run(scale.times(60))
        return {
            "p99": paced.milliseconds("p99"),
            "rate": back_to_back.result["messages"] / back_to_back.result["seconds"],
            "micros": back_to_back.microseconds,
            "mib": (testbed.server.memory() - testbed.memory_after) / 2**20,
            "dropped": _dropped(testbed.server),
            "stalled": testbed.scenario.stalled,
        }


def _dropped(server: Server) -> float:
    return Pushd().metric(server, 'pushd_dropped_total{policy="drop"}')
