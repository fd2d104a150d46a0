"""The version, over HTTP and among the metrics."""

import platform

from pushd import __version__


async def test_version_is_shown(daemon):
    answer = await daemon.request("GET", "/version")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json["server"] == "pushd"
    assert (answer.json["version"], answer.json["python"]) == (__version__, platform.python_version())


async def test_build_is_a_metric(daemon):
    text = (await daemon.request("GET", "/metrics")).body.decode()
    assert f'pushd_build_info{{python="{platform.python_version()}",version="{__version__}"}} 1.0' in text
