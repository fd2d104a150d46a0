"""Settings of channels over every transport: the default of `slow`, of `ttl`, and what a reload changes."""

import json
from pathlib import Path

import pytest

from tests.transports.daemon import RunningDaemon, turns
from tests.transports.every_client import UNCONFINED, each_client
from tests.transports.http_client import address
from tests.transports.multipart_client import Mixed

RULES = """
[[channel]]
match = "a/*"
slow = "drop"
ttl = 60
messages = 2

[[channel]]
match = "b"
slow = "latest"

[[channel]]
match = "**"
messages = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file with rules."""
    path = tmp_path / "pushd.toml"
    path.write_text(RULES)
    return path


class Images(Mixed):
    """Parts that replace each other."""

    resource = "multipart"


def policy_of(daemon: RunningDaemon, channel: str) -> str:
    """Return the policy of the only subscriber to the last of some topics."""
    (subscriber,) = daemon.subscribers(channel.rpartition(",")[2])
    return str(subscriber.policy.value)


@each_client()
@pytest.mark.parametrize(
    ("topics", "slow", "expected"),
    [
        ("a/1", None, "drop"),
        ("a/1", "latest", "latest"),
        ("a/1", "disconnect", "disconnect"),
        ("c,b,a/1", None, "latest"),
        ("a/*,e", None, "drop"),
        ("c,a/**,e", None, "disconnect"),
    ],
)
async def test_subscription_without_a_policy_has_that_of_its_first_topic_with_one(
    start_daemon, client_class, file, topics, slow, expected
):
    daemon = await start_daemon({}, file=file)
    await client_class(daemon).subscribe(topics, slow=slow)
    await turns()
    assert policy_of(daemon, topics) == expected


async def test_parts_that_replace_each_other_have_the_policy_latest(start_daemon, file):
    daemon = await start_daemon({}, file=file)
    await Images(daemon).subscribe("a/1")
    assert policy_of(daemon, "a/1") == "latest"


@each_client(UNCONFINED)
async def test_connection_keeps_the_policy_of_its_first_subscription_until_it_names_one(
    start_daemon, client_class, file
):
    daemon = await start_daemon({}, file=file)
    client = client_class(daemon)
    found = []
    for topics, slow in (("c", None), ("a/1", None), ("b", None), ("d", "disconnect"), ("a/2", None)):
        await client.subscribe(topics, slow=slow)
        await turns()
        found.append(policy_of(daemon, topics))
    assert found == ["disconnect", "drop", "drop", "disconnect", "disconnect"]


@pytest.mark.parametrize(
    ("how", "is_kept"), [({}, False), ({"keep": 0}, False), ({"keep": 1}, True), ({"ttl": 9}, True), ({"end": 1}, True)]
)
async def test_default_of_keep_over_http_and_json(start_daemon, file, how, is_kept):
    daemon = await start_daemon({}, file=file)
    file.write_text("[[channel]]\nmatch = 'typing/*'\nkeep = false\n")
    await daemon.reload()
    answer = await daemon.request("POST", address("pub", "typing/1", **how), b"x")
    options = {key: value if key == "ttl" else bool(value) for key, value in how.items()}
    line = json.dumps({"channel": "typing/2", "data": 1} | options)
    batch = await daemon.request("POST", "/pub", line.encode(), {"Content-Type": "application/x-ndjson"})
    assert [each["id"] is not None for each in (answer.json, json.loads(batch.body))] == [is_kept] * 2
    assert len(await daemon.history("typing/*")) == 2 * is_kept


async def test_rule_is_shown_with_the_channel_and_applied_by_a_reload(start_daemon, file):
    daemon = await start_daemon({}, file=file)
    assert any("Rules for channels" in line and "a/* (messages=2 ttl=60 slow=drop)" in line for line in daemon.log)
    for _ in range(5):
        await daemon.publish("a/1")
        await daemon.publish("x")
    assert [(await daemon.info(name))["messages"] for name in ("a/1", "x")] == [2, 3]
    assert [(await daemon.info(name))["rule"] for name in ("a/1", "x")] == ["a/*", "**"]
    file.write_text("[[channel]]\nmatch = 'a/*'\nmessages = 1\n")
    await daemon.reload()
    assert [(await daemon.info(name))["messages"] for name in ("a/1", "x")] == [1, 3]
    assert (await daemon.info("a/1"))["rule"] == "a/*"
    assert "rule" not in await daemon.info("x")
    assert "of which the first match counts: a/* (messages=1)" in daemon.log[-1]
    file.write_text("")
    await daemon.reload()
    assert "of which the first match counts: none" in daemon.log[-1]
