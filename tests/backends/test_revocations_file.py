"""Revocations of the memory backend outlast a restart in a file, whatever a crash has left in it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from stat import S_IMODE

import pytest
import pytest_twisted

from pushd.backends import revocations_file
from pushd.backends.interface import BackendUnusable
from pushd.backends.memory import MemoryBackend
from pushd.core.errors import StorageFailed
from pushd.core.history import Bounds
from tests.backends.backend_harness import BackendHarness, ManualClock, Wait
from tests.backends.contract_revocations import FAR, revocation

Run = Callable[[], Awaitable[BackendHarness]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the file."""
    return tmp_path / "revocations"


@pytest_twisted.async_yield_fixture
async def run(path: Path, clock: ManualClock, wait: Wait) -> AsyncIterator[Run]:
    """Start a backend on the file, after stopping the one before."""
    running: list[BackendHarness] = []

    async def run() -> BackendHarness:
        if running:
            await running[-1].stop()
        backend = MemoryBackend(Bounds(), clock, clock.wall, "E", path)
        running.append(BackendHarness(backend, wait))
        await running[-1].start()
        return running[-1]

    yield run
    await running[-1].stop()


async def test_revocations_outlast_a_restart(run: Run, path: Path) -> None:
    harness = await run()
    some = [revocation(), revocation("é\u2028:\n", reason="x"), revocation("alice", before=2000)]
    for each in some:
        await harness.backend.revoke(each)
    for _ in range(2):
        harness = await run()
        assert {each.value: each.before for each in harness.revocations} == {"alice": 2000, some[1].value: 1000}
    assert len(path.read_bytes().splitlines()) == 2
    assert S_IMODE(path.stat().st_mode) == 0o600


async def test_expired_revocations_are_removed_from_the_file(run: Run, path: Path, clock: ManualClock) -> None:
    harness = await run()
    await harness.backend.revoke(revocation(until=2000))
    await harness.backend.revoke(revocation("bob"))
    clock.advance(2000)
    assert [each.value for each in (await run()).revocations] == ["bob"]
    assert b"alice" not in path.read_bytes()


@pytest.mark.parametrize("rest", [b'["sub","eve"', b"\xff\n", b'["role","eve",1,2,3,""]\n', b"\0" * 100, b"\n\n"])
async def test_line_that_a_crash_has_cut_is_skipped(run: Run, path: Path, rest: bytes) -> None:
    harness = await run()
    await harness.backend.revoke(revocation())
    with path.open("ab") as file:
        file.write(rest)
    harness = await run()
    assert list(harness.revocations) == [revocation()]
    await harness.backend.revoke(revocation("bob"))
    assert {each.value for each in (await run()).revocations} == {"alice", "bob"}


async def test_revocation_that_cannot_be_written_has_no_effect_and_leaves_nothing(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = await run()
    await harness.backend.revoke(revocation())

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageFailed):
            await harness.backend.revoke(revocation("eve"))
    assert [each.value for each in harness.revocations] == ["alice"]
    await harness.backend.revoke(revocation("bob"))
    assert {each.value for each in (await run()).revocations} == {"alice", "bob"}


async def test_repeated_revocations_do_not_let_the_file_grow(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations_file, "_MIN_REWRITTEN", 1000)
    harness = await run()
    for number in range(100):
        await harness.backend.revoke(revocation(before=number, reason=f"{number:04}"))
        assert path.stat().st_size < 1200
    assert list((await run()).revocations) == [revocation(before=99, reason="0099")]


async def test_file_that_cannot_be_used_is_reported_at_the_start(tmp_path: Path, clock: ManualClock) -> None:
    for path in (tmp_path, tmp_path / "missing" / "file"):
        backend = MemoryBackend(Bounds(), clock, clock.wall, "E", path)
        with pytest.raises(BackendUnusable, match=f"auth.revocations_file: {path}"):
            await BackendHarness(backend, clock.advance).start()  # type: ignore[arg-type]


def test_far_is_in_the_future() -> None:
    assert revocation().until == FAR
