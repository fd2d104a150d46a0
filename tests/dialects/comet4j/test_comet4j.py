"""comet4j by raw HTTP, as version 0.1.7 of its client sends it."""

import json
from urllib.parse import unquote

from twisted.internet.defer import Deferred

from tests.transports.daemon import until

SETTINGS: dict[str, object] = {"dialects.enable": "comet4j"}


async def ask(daemon, query):
    answer = await daemon.request("GET", f"/comet4j?{query}")
    assert answer.status == 200, answer.body
    text = answer.body.decode()
    assert (text[0], text[-1], text.count("<"), text.count(">")) == ("<", ">", 1, 1)
    return json.loads(unquote(text[1:-1]))


async def test_a_client_connects_revives_and_drops(start_daemon):
    daemon = await start_daemon(SETTINGS)
    conn = await ask(daemon, "cmd=conn&cv=0.1.7&channels=a,b&ws=auto")
    assert (conn["channel"], conn["data"]["ws"], conn["data"]["channels"]) == ("c4j", "lpool", ["a", "b"])
    id = conn["data"]["cId"]
    waiting = Deferred.fromCoroutine(ask(daemon, f"cmd=revival&cid={id}"))
    await until(lambda: daemon._service._counters.connections["comet4j"], "a held request")
    await daemon.publish("a", "one <>&+ \u2028")
    assert (await waiting)["data"] == "one <>&+ \u2028"
    for text in ("two", "three", "four"):
        await daemon.publish("b", text)
    received = [await ask(daemon, f"cmd=revival&cid={id}") for _ in range(3)]
    assert [(each["channel"], each["data"]) for each in received] == [("b", "two"), ("b", "three"), ("b", "four")]
    assert (await daemon.request("GET", f"/comet4j?cmd=drop&cid={id}")).status == 200
    assert (await daemon.request("GET", f"/comet4j?cmd=revival&cid={id}")).status == 404


async def test_channels_of_the_configuration_and_no_forged_control_message(start_daemon, tmp_path):
    file = tmp_path / "pushd.toml"
    file.write_text('[dialects.comet4j]\nchannels = ["c4j", "news"]\n')
    daemon = await start_daemon(SETTINGS, file=file)
    id = (await ask(daemon, "cmd=conn"))["data"]["cId"]
    await daemon.publish("c4j", "forged")
    await daemon.publish("news", "real")
    assert (await ask(daemon, f"cmd=revival&cid={id}"))["data"] in ("real", {"type": "revival"})
