"""The options of ``twistd pushd``, and the service that is made of them."""

import os
import runpy
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import Application, IServiceCollection, IServiceMaker, MultiService
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogLevel
from twisted.python.usage import Options as UsageOptions

from pushd import __version__, tap
from pushd.config.reload import Reload
from pushd.config.table import SETTINGS, Config
from pushd.tap import Options, log_form, makeService

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Remove the variables that configure pushd."""
    for name in list(os.environ):
        if name.startswith("PUSHD_"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def reactor(monkeypatch):
    """A reactor in memory, in place of the real one."""
    reactor = MemoryReactorClock()
    monkeypatch.setattr("twisted.internet.reactor", reactor)
    return reactor


class EmptyDaemon(MultiService):
    """A daemon without parts."""

    has_audit_log = False
    reopened = 0
    """How often its logs were opened anew."""

    def reopen_logs(self) -> bool:
        """Count the call."""
        self.reopened += 1
        return self.has_audit_log


@pytest.fixture
def made(monkeypatch):
    """The arguments of each call of `make_service`, which returns an empty service."""
    arguments = []

    def make_service(config, reactor):
        arguments.append((config, reactor))
        return EmptyDaemon()

    monkeypatch.setattr(tap, "make_service", make_service)
    return arguments


def parsed(*words: str, **twistd: object) -> Options:
    """Return the options as twistd passes them; `twistd` has its own, if they differ from those of `twistd -n`."""
    options = Options()
    options.parent = UsageOptions()
    options.parent.update({"nodaemon": True, "logger": None, "logfile": None, "syslog": False} | twistd)
    options.parseOptions(words)
    return options


def refusal(capsys, *words: str) -> str:
    """Return the sentence with which the process ends: Python prints it and exits with status 1."""
    with pytest.raises(SystemExit) as caught:
        parsed(*words)
    assert capsys.readouterr().out == ""
    assert isinstance(caught.value.code, str)
    return caught.value.code


def test_settings_without_options_are_the_defaults():
    assert parsed().settings == Config()


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.key)
def test_setting_is_an_option_described_by_help(row, capsys):
    options = Options()
    assert f"{row.option}=" in options.longOpt
    default = {list: "tcp:80" if row.default else "none", bool: str(row.default).lower()}.get(
        type(row.default), str(row.default)
    )
    shown = options.docs[row.option]
    assert shown.startswith(row.description)
    assert shown.endswith("]")
    assert f"default: {default}" in shown
    assert not row.alias or options.docs[row.alias] == shown


def test_help_lists_the_options(capsys):
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(["--help"])
    out = capsys.readouterr().out
    assert not caught.value.code
    for option in ("--http=", "--tcp=", "--open", "--data-dir=", "--config=", "--check", "--limits-queue-bytes="):
        assert f" {option} " in out


def test_alias_sets_the_same_setting():
    options = parsed("--http", "tcp:1", "--http-listen", "unix:/run/p", "--tcp", "none", "--open")
    assert options.settings.http.listen == ("tcp:1", "unix:/run/p")
    assert (options.settings.tcp.listen, options.settings.access.open) == ((), True)


def test_options_override_the_environment_which_overrides_the_file(environment, tmp_path):
    file = tmp_path / "pushd.toml"
    file.write_text("[limits]\nmessage = 1\nevent = 1\ntopics = 1\n")
    environment.setenv("PUSHD_LIMITS_MESSAGE", "2")
    environment.setenv("PUSHD_LIMITS_EVENT", "2")
    limits = parsed("--config", str(file), "--limits-message", "3").settings.limits
    assert (limits.message, limits.event, limits.topics) == (3, 2, 1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--limits-message", "lots"],
            'option --limits-message: \'lots\' is not a size (examples: 65536, "64KiB", "4MiB")',
        ),
        (["--limits-mesage", "1"], "unknown option --limits-mesage: did you mean --limits-message?"),
        (["--log-level"], "option --log-level: a value is missing"),
        (["start"], "unexpected argument 'start': only options are accepted"),
        (["--config", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["--http", "tcp:70000"], "option --http: 'tcp:70000' has an invalid port: must be between 0 and 65535"),
        (
            ["--tcp", "tcp:0"],
            "option --tcp: tcp:0 is open to other machines; add interface=127.0.0.1, set up [auth], "
            "or start with --open to let anyone publish and subscribe",
        ),
        (["--auth-tokens-file", "nowhere.toml"], "option --auth-tokens-file: nowhere.toml: No such file or directory"),
        (["--backend-kind", "sqlite"], "option --backend-kind: sqlite requires a directory; use --data-dir DIR"),
        (
            ["--backend-kind", "memory", "--data-dir", "data"],
            "option --data-dir: must not be set for the backend memory",
        ),
    ],
)
def test_invalid_command_line_ends_the_process_with_one_sentence(capsys, words, sentence):
    assert refusal(capsys, *words) == f"pushd: {sentence}"
    assert refusal(capsys, "--check", *words) == f"pushd: {sentence}"


@pytest.mark.parametrize(("words", "where"), [([], "no file"), (["--config", "pushd.toml"], "pushd.toml")])
def test_check_reports_a_valid_configuration_and_starts_nothing(capsys, environment, tmp_path, words, where):
    environment.chdir(tmp_path)
    (tmp_path / "pushd.toml").touch()
    with pytest.raises(SystemExit) as caught:
        parsed("--check", "--http", "0", "--tcp", "[::1]:0", *words)
    assert (capsys.readouterr().out.splitlines(), caught.value.code) == (
        [
            f"pushd: configuration is valid ({where})",
            "pushd: http.listen: tcp:0:interface=127.0.0.1, for this machine only",
            r"pushd: tcp.listen: tcp6:0:interface=\:\:1, for this machine only",
        ],
        None,
    )


def test_check_reports_on_the_history_on_disk(capsys, tmp_path):
    with pytest.raises(SystemExit) as caught:
        parsed("--check", "--data-dir", str(tmp_path / "data"))
    assert caught.value.code is None
    assert f"pushd: no history yet: {tmp_path / 'data'} will be created\n" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        parsed("--check", "--data-dir", str(tmp_path / "file"))
    assert (
        caught.value.code == f"pushd: option --data-dir: {tmp_path / 'file'} is not a readable and writable directory"
    )


def test_version_of_pushd_is_printed(capsys):
    with pytest.raises(SystemExit):
        parsed("--version")
    assert capsys.readouterr().out == f"pushd {__version__}\n"


def test_service_is_made_of_the_settings_and_the_reactor(reactor, made):
    options = parsed("--limits-message", "7")
    daemon = makeService(options)
    assert made == [(options.settings, reactor)]
    assert [type(each) for each in IServiceCollection(daemon)] == [Reload, EmptyDaemon]


def test_reload_that_is_asked_for_during_the_start_follows_it(reactor, made, monkeypatch):
    calls: list[Callable[[], None]] = []
    reactor.callFromThread = calls.append
    monkeypatch.setattr(EmptyDaemon, "startService", lambda _: signal.raise_signal(signal.SIGHUP))
    program = makeService(parsed())
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        for service in IServiceCollection(program):
            service.startService()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert len(calls) == 1


def test_timers_use_the_monotonic_clock(reactor, made):
    makeService(parsed())
    assert reactor.seconds is time.monotonic


def observer_of(options: Options) -> Any:
    """Return the log observer that twistd finds in the application, or None."""
    application = Application("pushd")
    daemon = makeService(options)
    daemon.setServiceParent(application)
    assert list(IServiceCollection(application)) == [daemon]
    return application.getComponent(ILogObserver, None)


def event(level: LogLevel = LogLevel.warn) -> dict[str, object]:
    return {"log_time": 0.0, "log_level": level, "log_namespace": "x", "log_format": "hello"}


@pytest.mark.parametrize("logfile", [None, "", "-"])
def test_log_of_a_foreground_process_goes_to_standard_output(reactor, made, capsys, logfile):
    observer_of(parsed("--log-format", "json", logfile=logfile))(event())
    assert '"message": "hello"' in capsys.readouterr().out


def test_events_below_the_level_are_not_logged(reactor, made, capsys):
    observer = observer_of(parsed("--log-level", "warn"))
    observer(event(LogLevel.info))
    observer(event(LogLevel.error))
    assert capsys.readouterr().out.count("hello") == 1


@pytest.fixture
def usr1():
    """Reset the signal that rotates the log to its default action."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("twistd", "name"),
    [
        ({"nodaemon": False}, "twistd.log"),
        ({"nodaemon": False, "logfile": "own.log"}, "own.log"),
        ({"nodaemon": True, "logfile": "own.log"}, "own.log"),
    ],
)
def test_log_of_a_daemon_goes_to_the_file_of_twistd(reactor, made, environment, tmp_path, usr1, twistd, name):
    environment.chdir(tmp_path)
    observer_of(parsed("--log-format", "text", **twistd))(event())
    assert (tmp_path / name).read_text().endswith("[warn x] hello\n")


def test_sigusr1_rotates_the_log(reactor, made, tmp_path, usr1):
    observer_of(parsed(logfile=str(tmp_path / "own.log")))
    reactor.callFromThread = lambda call: call()
    signal.raise_signal(signal.SIGUSR1)
    assert {file.name for file in tmp_path.iterdir()} == {"own.log", "own.log.1"}


@pytest.mark.parametrize("has_file", [True, False])
@pytest.mark.parametrize("has_audit_log", [True, False])
def test_sigusr1_opens_the_audit_log_anew(reactor, made, monkeypatch, tmp_path, usr1, has_file, has_audit_log):
    monkeypatch.setattr(EmptyDaemon, "has_audit_log", has_audit_log)
    program = makeService(parsed(logfile=str(tmp_path / "own.log")) if has_file else parsed())
    reactor.callFromThread = lambda call: call()
    ignored: list[str] = []
    monkeypatch.setattr(tap._log, "warn", ignored.append)
    signal.raise_signal(signal.SIGUSR1)
    (daemon,) = (each for each in IServiceCollection(program) if isinstance(each, EmptyDaemon))
    assert daemon.reopened == 1
    assert bool(ignored) is not (has_file or has_audit_log)


def test_audit_log_of_a_daemon_is_not_on_standard_output(reactor, made):
    with pytest.raises(SystemExit) as caught:
        makeService(parsed("--log-audit", "-", nodaemon=False, logfile="/dev/null"))
    assert "log.audit: a daemon has no standard output" in str(caught.value.code)
    makeService(parsed("--log-audit", "-"))


@pytest.mark.parametrize("twistd", [{"logger": object()}, {"syslog": True}])
def test_logger_or_syslog_of_twistd_is_kept(reactor, made, twistd):
    assert observer_of(parsed(**twistd)) is None


@pytest.mark.parametrize(
    ("twistd", "sentence"),
    [
        ({"nodaemon": False, "logfile": "-"}, "pushd: a daemon cannot log to the terminal"),
        ({"logfile": "nowhere/own.log"}, "pushd: cannot log to nowhere/own.log: No such file or directory"),
    ],
)
def test_unwritable_log_ends_the_process_with_one_sentence(reactor, made, environment, tmp_path, twistd, sentence):
    environment.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        makeService(parsed(**twistd))
    assert caught.value.code == sentence


@pytest.mark.parametrize(
    ("setting", "environ", "form"),
    [
        ("auto", {}, "text"),
        ("auto", {"JOURNAL_STREAM": "8:1"}, "json"),
        ("auto", {"INVOCATION_ID": "1"}, "json"),
        ("text", {"JOURNAL_STREAM": "8:1"}, "text"),
        ("json", {}, "json"),
    ],
)
def test_automatic_log_format_is_json_under_systemd(setting, environ, form):
    assert log_form(setting, environ) == form


def test_plugin_names_the_options_and_the_service():
    plugin = runpy.run_path(str(ROOT / "twisted/plugins/pushd_plugin.py"))["pushd"]
    assert IServiceMaker.providedBy(plugin)
    assert (plugin.tapname, plugin.options, plugin.makeService) == ("pushd", Options, makeService)


def test_plugin_directories_are_not_packages():
    """An ``__init__.py`` there would hide Twisted itself."""
    assert list((ROOT / "twisted").rglob("__init__.py")) == []
