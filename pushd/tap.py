"""pushd for twistd: its options, which follow the table of settings, and the service it runs."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar

from twisted.application.service import IService
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from pushd import __version__
from pushd.backends.interface import BackendUnusable
from pushd.config.load import check_backend, check_inherited_sockets, check_listeners, load
from pushd.config.reload import Reload
from pushd.config.table import SETTINGS, Config, ConfigError, Setting
from pushd.logs import Threshold, log_observer
from pushd.net.listeners import StartOrExit
from pushd.net.monotonic_clock import use_monotonic_clock
from pushd.service.backend import check_backend_usable
from pushd.service.daemon import make_service

_log = Logger()


GARBAGE = (2_000, 5, 2_000)
"""New objects before the garbage collector looks at them; times of that before it looks at the older, and at all. The
older are some 700 connections that came meanwhile: that look takes 5 ms, and while a crowd comes there are many.
"""


class Options(UsageOptions):
    """The command line of `twistd pushd`. What it says ends up in `settings`, checked."""

    synopsis = "[options]"
    longdesc = (
        "A server-push daemon. Each setting is an option here, a key in the file given by --config, and a "
        "variable PUSHD_SECTION_NAME in the environment; options override the environment, which overrides the file."
    )
    optFlags: ClassVar = [["check", None, "Check the configuration and the stored history, report errors, and exit."]]
    optParameters: ClassVar = [["config", "c", None, "Read the settings from this TOML file."]]

    settings: Config

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, list[str]] = {}

    def opt_version(self) -> None:
        """Display the version of pushd and exit."""
        print(f"pushd {__version__}")
        raise SystemExit

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line; what is wrong there or in a setting ends the process with one sentence."""
        try:
            super().parseOptions(options)
        except (UsageError, ConfigError) as error:
            raise SystemExit(f"pushd: {error}") from error

    def parseArgs(self, *words: str) -> None:
        """Refuse what is not an option. Raises UsageError."""
        if words:
            raise UsageError(f"unexpected argument {words[0]!r}: only options are accepted")

    def postOptions(self) -> None:
        """Load the settings and check them. Raises ConfigError."""
        from twisted.internet import reactor

        self.settings = self.read(Path())
        check_inherited_sockets(self.settings, reactor)
        if self["check"]:
            print(f"pushd: configuration is valid ({self['config'] or 'no file'})")
            self._check_backend()
            raise SystemExit

    def read(self, folder: Path) -> Config:
        """Load the settings and check them. Raises ConfigError.

        :param folder: where the daemon was started, since it may go elsewhere, and the name of the file does not.
        """
        from twisted.internet import reactor

        file = self["config"]
        settings = load(folder / file if file else None, os.environ, self.given)
        check_listeners(settings, reactor)
        check_backend(settings)
        return settings

    def _check_backend(self) -> None:
        """Say how it is with what is stored. Raises UsageError where that is not well."""
        try:
            sentence = check_backend_usable(self.settings)
        except BackendUnusable as fault:
            raise UsageError(str(fault)) from fault
        if sentence is not None:
            print(f"pushd: {sentence}")


def _taking_text(row: Setting) -> Callable[[Options, str], None]:
    def take(self: Options, text: str) -> None:
        self.given.setdefault(row.key, []).append(text)

    take.__doc__ = _explained(row)
    return take


def _taking_nothing(row: Setting) -> Callable[[Options], None]:
    def take(self: Options) -> None:
        self.given[row.key] = ["true"]

    take.__doc__ = _explained(row)
    return take


def _explained(row: Setting) -> str:
    value = row.default
    default = " ".join(value) or "none" if row.repeatable else str(value).lower() if row.is_flag else value
    unit = f"{row.unit}, " if row.unit else ""
    repeatable = "repeatable, " if row.repeatable else ""
    return f"{row.sentence} [{unit}{repeatable}default: {default}]"


for _row in SETTINGS:
    setattr(Options, f"opt_{_row.option}".replace("-", "_"), _taking_text(_row))
    if _row.alias:
        setattr(Options, f"opt_{_row.alias}", _taking_nothing(_row) if _row.is_flag else _taking_text(_row))


class RootService(StartOrExit):
    """pushd as twistd runs it: logs as the settings say, and leaves with one sentence where a port is taken."""

    def __init__(self, observer: ILogObserver | None, tell: Callable[[str], None]) -> None:
        """`observer` is None where twistd keeps its own log."""
        super().__init__(tell)
        self._observer = observer

    def setServiceParent(self, parent: Componentized) -> None:
        """Join the application, where twistd looks for the observer of the log before it starts anything."""
        if self._observer is not None:
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Start, and spare the garbage collector what stays for good.

        A look at everything takes some 100 ms with ten thousand connections, which live long and are freed without it.
        """
        super().startService()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)

    def stopService(self) -> Any:
        """Stop. Whoever does not want to wait for that signals again, and the process ends at once."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        return super().stopService()


def makeService(options: Options) -> IService:
    """Build pushd for twistd. Raises SystemExit with one sentence where the log can not be written."""
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    config = options.settings
    twistd: Mapping[str, Any] = options.parent or {}
    out = _log_output(twistd, reactor)
    threshold = Threshold(config.log.level, config.log.levels)
    observer = log_observer(out, log_form(config.log.format, os.environ), threshold) if out else None
    program = RootService(observer, _tell_terminal if out is sys.stdout else _tell_terminal_and_log)
    daemon = make_service(config, reactor)
    daemon.setServiceParent(program)
    read = partial(options.read, Path.cwd())
    Reload(read, config, daemon, threshold, reactor).setServiceParent(program)
    return program


def log_form(setting: str, environ: Mapping[str, str]) -> str:
    """Settle what `auto` means: "json" where systemd started the daemon, else "text"."""
    under_systemd = "JOURNAL_STREAM" in environ or "INVOCATION_ID" in environ
    return setting if setting != "auto" else "json" if under_systemd else "text"


def _log_output(twistd: Mapping[str, Any], reactor: Any) -> IO[Any] | None:
    """Where twistd would log, by its own rules; None where it was told to do it in another way."""
    if "nodaemon" not in twistd or twistd["logger"] or twistd.get("syslog"):
        return None
    name = twistd["logfile"]
    if twistd["nodaemon"] and name in (None, "", "-"):
        return sys.stdout
    if name == "-":
        raise SystemExit("pushd: a daemon cannot log to the terminal")
    try:
        file = LogFile.fromFullPath(name or "twistd.log")
    except OSError as error:
        raise SystemExit(f"pushd: cannot log to {name or 'twistd.log'}: {error.strerror}") from error
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(file.rotate))
    output: IO[Any] = file
    return output


def _tell_terminal(sentence: str) -> None:
    print(f"pushd: {sentence}", file=sys.__stderr__)


def _tell_terminal_and_log(sentence: str) -> None:
    _tell_terminal(sentence)
    _log.critical("{sentence}", sentence=sentence)
