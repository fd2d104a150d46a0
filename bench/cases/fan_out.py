"""Ten thousand subscribers: the cost of a delivery, and the response time for other clients meanwhile."""

from collections.abc import Mapping, Sequence

from bench.cases.interface import Case, Column, Scale
from bench.peers.pushd import Pushd
from bench.testbed import Scenario, Testbed

_GROUP = "fan-out"
_EACH = 10
_LETTERS = "/".join("abcdefghijklmn")
ONE_CHANNEL, CHANNELS, PATTERNS, MATCHING = "one channel", "ten on each channel", "a pattern each", "matching patterns"


class FanOut(Case):
    """The cost of a delivery among many subscribers."""

    name = "fan-out"
    title = "Fan-out to many subscribers"
    about = (
        "With one channel, each message is published when the previous one has reached all subscribers. With several"
        " channels, a message is published to each at once, pipelined, and the next ones when all have arrived. With a"
        " pattern each, subscriber N subscribes to `bench/N/*`, and each message reaches one subscriber: its delivery"
        " then bears the whole cost of its publish, so one column subtracts the cost of the same number of messages"
        " without subscribers. With matching patterns, each subscriber has a different pattern, and every message"
        " matches all of them."
    )
    columns: Sequence[Column] = (
        Column("micros", "CPU µs per delivery", 2),
        Column("net", "without publishing", 2),
        Column("rate", "deliveries per second", 0),
    )
    group = _GROUP
    seconds = 70
    _SWEEPS = 8
    _MESSAGES = 20_000
    """Maximum per round; more would fill the history and measure that."""
    _WINDOW = 2000

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """See `Case`."""
        many, channels = scale.many_subscribers, max(1, scale.many_subscribers // _EACH)
        return (
            Scenario("pushd", "TCP", many, note=ONE_CHANNEL),
            Scenario("pushd", "SSE", many, note=ONE_CHANNEL),
            Scenario("pushd", "TCP", many, channels=channels, topic="bench-%c", channel="bench-%c", note=CHANNELS),
            Scenario("pushd", "TCP", many, channels=many, topic="bench/%c/*", channel="bench/%c/x", note=PATTERNS),
            Scenario("pushd", "TCP", many, topic="%b", channel=_LETTERS, note=MATCHING),
            Scenario("c", "loop", many),
            Scenario("python", "loop", many),
        )

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        sweeps = min(self._SWEEPS, self._MESSAGES // testbed.scenario.channels)
        sample = testbed.run(scale.times(sweeps), deadline=30)
        figures = {"micros": sample.microseconds, "rate": sample.delivered / sample.result["seconds"]}
        if testbed.scenario.channels > 1:
            testbed.publish_by(channel="unsubscribed-%c")
            testbed.wait_until_idle()
            messages = int(sample.result["messages"])
            without_subscribers = testbed.pump(messages, self._WINDOW).cpu
            testbed.publish_by()
            figures["net"] = 1e6 * (sample.cpu - without_subscribers) / sample.delivered
        return figures


class ResponseTime(Case):
    """Response times of other clients during a fan-out."""

    name = "response-time"
    title = "Response times during a fan-out to many subscribers"
    about = (
        "While messages are delivered to all subscribers, another client sends requests, each two milliseconds after"
        " the previous response. The figure is the longest response time of a round."
    )
    columns: Sequence[Column] = (
        Column("TCP PING", "TCP PING, max ms"),
        Column("WebSocket ping", "WebSocket ping, max ms"),
        Column("HTTP publish", "HTTP publish, max ms"),
    )
    group = _GROUP
    seconds = 40

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """See `Case`."""
        return [Scenario("pushd", transport, scale.many_subscribers, note=ONE_CHANNEL) for transport in ("TCP", "SSE")]

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        figures = {}
        for column in self.columns:
            testbed.start_probe(Pushd().probe_script(testbed.server, column.key))
            figures[column.key] = testbed.run(scale.times(6), deadline=30).milliseconds("max", of="probe")
            testbed.stop_probe()
        return figures
