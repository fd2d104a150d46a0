"""With Sentinel, nodes follow the master: what it took with it is told, and nothing is given out twice."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from pushd.backends.redis.address import parse_url
from pushd.backends.redis.link import NotUsable
from pushd.backends.redis.locator import Locator
from tests.backends.nodes import Node
from tests.backends.redis_server import free_port
from tests.backends.scene import Scene
from tests.backends.sentinels import Watched

pytestmark = pytest.mark.system

Start = Callable[..., Awaitable[Node]]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A master, a replica, and three Sentinels."""
    all_of_them = Watched(tmp_path)
    yield all_of_them
    all_of_them.kill()


async def test_nodes_go_to_the_new_master_when_the_old_one_dies(watched: Watched, node: Start) -> None:
    await watched.ready()
    await _find_among_others(watched)
    stage = await Scene([await node(watched.url) for _ in range(2)]).begin()
    watched.master.kill()
    await watched.until_failed_over()
    await stage.be_accepted()
    await stage.end(gaps=True)
    assert {gap.reason for ear in stage.ears for gap in ear.gaps} <= {"unknown", "epoch"}


@pytest.mark.slow
async def test_a_master_that_was_frozen_and_comes_back_is_not_believed(watched: Watched, node: Start) -> None:
    await watched.ready()
    stage = await Scene([await node(watched.url) for _ in range(2)]).begin()
    watched.master.freeze()
    await watched.until_failed_over()
    await stage.be_accepted()
    watched.master.thaw()
    await stage.be_accepted(200)
    await stage.end(gaps=True)
    assert {gap.reason for ear in stage.ears for gap in ear.gaps} <= {"unknown", "epoch"}


async def _find_among_others(watched: Watched) -> None:
    """Ask Sentinels of which one is gone, for a master that is there and for one that is not."""
    from twisted.internet import reactor

    gone = f"127.0.0.1:{free_port()}"
    places = Locator(parse_url(watched.url.replace("://", f"://{gone},")), "", reactor)
    assert await places._ask_sentinels() == ("127.0.0.1", watched.master.port)
    with pytest.raises(NotUsable, match="no Sentinel names a master other"):
        await Locator(parse_url(watched.url.replace("mymaster", "other")), "", reactor).find()
    with pytest.raises(NotUsable, match="no Sentinel"):
        await Locator(parse_url(f"redis+sentinel://{gone}/mymaster"), "", reactor).find()
