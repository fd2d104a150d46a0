"""The fixture `pushd`, in the tests of another project."""

import os
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pushd_client.pytest_plugin import running_daemon

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[3]
NAME = "pushd_client.pytest_plugin"
TESTS = """
    import os
    import pytest

    @pytest.fixture(scope="session")
    def pushd_config(pushd_directory):
        (pushd_directory / "web.key").write_text("s" * 32)
        return '[auth]\\nanonymous = {publish = ["**"], subscribe = ["**"], manage = ["**"], operate = ["*"]}\\n' \\
            '[auth.url_keys]\\nweb = "web.key"\\n[limits]\\nmessage = 100\\n'

    def test_publish(pushd):
        pushd.client.publish("orders/1", {"state": "paid"})
        assert [(m.channel, m.data) for m in pushd.published("orders/*")] == [("orders/1", {"state": "paid"})]
        print("process", pushd._process.pid, "directory", os.path.realpath(f"/proc/{pushd._process.pid}/cwd"))

    def test_next_test_finds_no_channel(pushd, pushd_daemon, tmp_path):
        assert pushd.published() == [] and pushd is pushd_daemon
        assert "http listens on 127.0.0.1:" in pushd.log

    def test_subscribe(pushd):
        assert pushd.subscribers("ü/b") == 0
        with pushd.client.subscribe("ü/b") as subscription:
            pushd.wait_for_subscribers("ü/b", seconds=30)
            pushd.client.publish("ü/b", "hello")
            assert next(subscription).data == "hello"
        pushd.wait_for_subscribers("ü/b", 0, seconds=30)

    def test_settings(pushd):
        with pytest.raises(Exception, match="too-large"):
            pushd.client.publish("a", "x" * 101)
        with pytest.raises(TimeoutError, match="no 1 subscribers of a within 0.01 s"):
            pushd.wait_for_subscribers("a", seconds=0.01)
"""


def run(pytester: pytest.Pytester, tests: str, **environ: str) -> pytest.RunResult:
    """Run tests in another process, with the plugin that this one would have if it was installed."""
    pytester.makepyfile(tests)
    is_installed = any(entry.value == NAME for entry in entry_points(group="pytest11"))
    options = [] if is_installed else ["-p", NAME]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "clients/python"), *sys.path]))
        patch.delenv("CI", raising=False)
        for name, value in environ.items():
            patch.setenv(name, value)
        return pytester.runpytest_subprocess(*options, "-p", "no:cacheprovider", "-s", timeout=120)


def test_fixture_is_a_running_daemon(pytester: pytest.Pytester):
    result = run(pytester, TESTS, PUSHD_LIMITS_MESSAGE="nonsense")
    result.assert_outcomes(passed=4)
    (line,) = [line for line in result.outlines if "process " in line]
    _, process, _, directory = line.lstrip(".").split()[-4:]
    assert not Path(f"/proc/{process}").exists()
    assert "/pushd0" in directory


def test_without_the_daemon_tests_are_skipped_and_fail_in_continuous_integration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pushd", None)
    for value, outcome in (("", pytest.skip.Exception), ("true", pytest.fail.Exception)):
        monkeypatch.setenv("CI", value)
        with pytest.raises(outcome, match=f"pushd is not installed for {sys.executable}: pip install pushd"):
            running_daemon(tmp_path).__enter__()


def test_daemon_that_does_not_start_is_an_error_with_its_log(tmp_path: Path):
    with (
        pytest.raises(RuntimeError, match=r"(?s)pushd did not start:.*mistake"),
        running_daemon(tmp_path, "mistake = 1"),
    ):
        raise AssertionError


def test_plugin_is_registered():
    project = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"pushd": NAME}
    assert import_module(NAME).pushd
