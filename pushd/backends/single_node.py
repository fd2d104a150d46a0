"""What backends of one node have in common: there are no others to ask."""

from collections.abc import Callable, Mapping, Sequence

from pushd.backends.interface import ClosedElsewhere
from pushd.core.message import Draft
from pushd.core.usage import UsageReply, UsageReport


class SingleNode:
    """The part of a backend that concerns other nodes, for one that has none; see `pushd.backends.interface.Backend`.

    A node without others counts for itself, so the hub has no need to call the methods about usage.
    """

    node = ""
    records = None
    marks = None
    has_nodes = False
    revocations_age = 0.0

    def subscribe(self, topic: str) -> None:
        pass  # all messages are delivered to the callbacks

    def unsubscribe(self, topic: str) -> None:
        pass

    async def kick(self, subject: str) -> ClosedElsewhere:
        return ClosedElsewhere()

    async def report_usage(self, reports: Sequence[UsageReport]) -> Sequence[UsageReply]:
        return [_judge(report) for report in reports]

    async def exchange_rates(self, used: Mapping[str, float]) -> Mapping[str, float]:
        return used

    async def seek_responders(self, channel: str, seconds: float, on_found: Callable[[str, float], None]) -> None:
        pass

    def report_responders(self, node: str, channel: str, oldest: float) -> None:
        pass

    async def request_channel(self, token: str) -> str | None:
        return None

    async def reply(self, token: str, reply: Draft) -> bool:
        return False


def _judge(report: UsageReport) -> UsageReply:
    """Grant the claims of a report that are within their quotas."""
    connections, subscriptions, granted = report.connections, report.subscriptions, []
    for claim in report.claims:
        quota = claim.quota
        fits = _fits(connections, claim.connections, quota.connections)
        fits = fits and _fits(subscriptions, claim.subscriptions, quota.subscriptions)
        granted.append(fits)
        if fits:
            connections += claim.connections
            subscriptions += claim.subscriptions
    return UsageReply(granted, 0)


def _fits(present: int, added: int, most: int | None) -> bool:
    return not added or most is None or present + added <= most
