"""The part of the backend contract about revocations."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from pushd.core.revocations import Revocation
from tests.backends.backend_harness import BackendHarness

Start = Callable[..., Awaitable[BackendHarness]]
FAR = 32_503_680_000
"""A time that no clock of a test reaches: the year 3000."""


def revocation(value: str = "alice", before: int = 1000, **rest: Any) -> Revocation:
    """Return a revocation of a subject."""
    return Revocation("sub", value, before, FAR, 1000)._replace(**rest)


class RevocationContract:
    """Which revocations are kept."""

    async def test_revocation_is_kept_and_passed_on(self, start: Start) -> None:
        harness = await start()
        some = [revocation(), revocation("é\u2028:\x7f", reason="a b"), revocation("t")._replace(kind="tag")]
        for each in some:
            await harness.backend.revoke(each)
        assert list(harness.revocations) == some
        assert harness.backend.revocations_age < 30

    async def test_concurrent_revocations_of_one_key_cover_what_each_covers(self, start: Start) -> None:
        harness = await start()
        some = [revocation(before=2000), revocation(before=1000)]
        await gatherResults([Deferred.fromCoroutine(harness.backend.revoke(each)) for each in some])
        assert [each.before for each in harness.revocations] == [2000]

    async def test_kick_of_other_nodes_needs_none(self, start: Start) -> None:
        harness = await start()
        assert await harness.backend.kick("alice") == (0, 0)
        assert harness.kicked == []
