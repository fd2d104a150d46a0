"""The part of the backend contract about what subjects have: which claims are granted."""

from collections.abc import Awaitable, Callable

from pushd.core.grant import UNLIMITED, Quota
from pushd.core.identity import QuotaKey
from pushd.core.usage import Claim, UsageReport
from tests.backends.backend_harness import BackendHarness

Start = Callable[..., Awaitable[BackendHarness]]

ALICE: QuotaKey = ("shop", "alice", None)
BOB: QuotaKey = ("shop", "böb\n", "192.0.2.1")
QUOTA = Quota(connections=3, subscriptions=10)


class UsageContract:
    """Which claims are granted."""

    async def test_claims_are_granted_within_the_quota_one_after_the_other(self, start: Start) -> None:
        backend = (await start()).backend
        claims = [Claim(1, 0, QUOTA), Claim(1, 0, QUOTA), Claim(0, 9, QUOTA), Claim(0, 2, QUOTA), Claim(0, 1, QUOTA)]
        replies = await backend.report_usage(
            [UsageReport(ALICE, 2, 0, claims), UsageReport(BOB, 1, 1), UsageReport(("x", None, None), 0, 0, claims[:2])]
        )
        assert [list(each.granted) for each in replies] == [[True, False, True, False, True], [], [True, True]]
        assert [each.subscriptions for each in replies] == [0, 0, 0]

    async def test_own_counts_are_those_of_the_last_report(self, start: Start) -> None:
        backend = (await start()).backend
        for _ in range(5):
            (reply,) = await backend.report_usage([UsageReport(ALICE, 2, 9, [Claim(1, 1, QUOTA)])])
            assert list(reply.granted) == [True]

    async def test_counts_beyond_a_quota_may_stay_but_not_grow(self, start: Start) -> None:
        backend = (await start()).backend
        some = [Claim(1, 0, QUOTA), Claim(0, 1, QUOTA), Claim(1, 0, Quota(subscriptions=1)), Claim(1, 1, UNLIMITED)]
        (reply,) = await backend.report_usage([UsageReport(ALICE, 5, 20, some)])
        assert list(reply.granted) == [False, False, True, True]

    async def test_what_is_taken_from_a_bucket_is_refilled(self, start: Start) -> None:
        backend = (await start()).backend
        full = await backend.exchange_rates({"a": 2.0, "b": 0.5})
        assert list(full) == ["a", "b"]
        assert 1.5 <= full["a"] <= 2.0
        assert 0.0 <= full["b"] <= 0.5
