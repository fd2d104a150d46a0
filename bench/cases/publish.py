"""The cost of a publish without subscribers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.cases.interface import Case, Column, Scale
from bench.testbed import Scenario, Testbed


class _PublishVariant(NamedTuple):
    peer: str
    transport: str
    variant: str
    """Name of the variant in `Peer.publish_script`."""
    connections: int
    window: int
    """Maximum number of unacknowledged requests per connection."""
    times: int


_PUBLISH_VARIANTS = (
    _PublishVariant("pushd", "HTTP POST", "POST", 32, 1, 3000),
    _PublishVariant("pushd", "NDJSON batch", "batch", 1, 2, 40),
    _PublishVariant("pushd", "TCP PUB", "", 1, 1000, 40_000),
    _PublishVariant("nchan", "HTTP POST", "", 32, 1, 10_000),
    _PublishVariant("nats", "PUB", "many", 1, 2, 200),
    _PublishVariant("redis", "PUBLISH", "", 1, 1000, 100_000),
)


class Publish(Case):
    """The cost of a publish."""

    name = "publish"
    title = "A publish without subscribers"
    about = (
        "Messages of 100 bytes. HTTP POST: 32 persistent connections, each of which sends the next request after the"
        " response. NDJSON batch: a thousand lines per POST, two unanswered POSTs. TCP PUB and PUBLISH: one connection"
        " with a thousand unacknowledged messages. PUB: one connection, with a ping after each thousand."
    )
    columns: Sequence[Column] = (
        Column("micros", "CPU µs per message", 1),
        Column("per_cpu", "messages per CPU second", 0),
        Column("rate", "messages per second", 0),
    )
    group = "publish"
    seconds = 40

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """See `Case`."""
        return [Scenario(each.peer, each.transport) for each in _PUBLISH_VARIANTS]

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        scenario = testbed.scenario
        variant = next(
            each for each in _PUBLISH_VARIANTS if (each.peer, each.transport) == (scenario.peer, scenario.transport)
        )
        publish_script = testbed.publish_by(variant.variant, connections=variant.connections)
        testbed.wait_until_idle()
        times = scale.times(variant.times)
        sample = testbed.pump(times, variant.window, publish_script.answers)
        messages = times * publish_script.messages
        cpu = max(sample.cpu, 1e-9)
        return {"micros": 1e6 * cpu / messages, "per_cpu": messages / cpu, "rate": messages / sample.result["seconds"]}
