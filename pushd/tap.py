"""The twistd plugin: command-line options, made from the table of settings, and the service that twistd runs."""

import gc
import io
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar

from twisted.application.service import IService
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from pushd import __version__
from pushd.audit.output import STDOUT
from pushd.config.checks import check_backend, check_inherited_sockets, check_listeners, check_origins
from pushd.config.command_line import examine
from pushd.config.environment import service_links
from pushd.config.loader import Check, load
from pushd.config.mistakes import ConfigError
from pushd.config.reload import Reload
from pushd.config.table import SETTINGS, Config, Setting
from pushd.log_file import SharedLogFile
from pushd.logs import Threshold, log_observer
from pushd.net.listeners import StartOrExit
from pushd.net.monotonic_clock import use_monotonic_clock
from pushd.service.authentication import check_credentials
from pushd.service.daemon import make_service
from pushd.service.hooks import check_hooks
from pushd.service.preflight import Preflight, check_written_files, why_unwritable

_log = Logger()


GARBAGE = (2_000, 5, 2_000)
"""Thresholds of the garbage collector (``gc.set_threshold``): new objects before a collection of the youngest
generation, and collections of each generation before one of the next. A collection of the middle generation, some 700
connections, takes 5 ms, and there are many while clients reconnect.
"""


class Options(UsageOptions):
    """The command line of ``twistd pushd``.

    :ivar settings: the configuration, checked. It is set by `postOptions`.
    :ivar folder: the working directory of the command line, to which the name of the file is relative.
    :ivar given: the texts of the options that are settings, by key.
    """

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
        self.folder = Path.cwd()
        self._refused: list[str] = []
        """Sentences about words of the command line that are no options."""

    def opt_version(self) -> None:
        """Display the version of pushd and exit."""
        print(f"pushd {__version__}")
        raise SystemExit

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line.

        :raises SystemExit: with one sentence, when an option or a setting is invalid.
        """
        words = sys.argv[1:] if options is None else options
        accepted, self._refused = examine(words, self.shortOpt, self.longOpt)
        try:
            super().parseOptions(accepted)
        except (UsageError, ConfigError) as error:
            raise SystemExit(f"pushd: {error}") from error

    def postOptions(self) -> None:
        """Load the configuration and check it; with ``--check``, report the result and exit.

        :raises ConfigError: when it is invalid; with ``--check``, also when the daemon could not work with it.
        :raises UsageError: when the directory of twistd cannot be entered.
        """
        from twisted.internet import reactor

        is_elsewhere = self._enter_run_directory()
        is_check, preflight = bool(self["check"]), Preflight()
        sockets = partial(check_inherited_sockets, reactor=reactor, are_required=not is_check)
        checks: list[Check] = [
            sockets,
            check_credentials,
            check_hooks,
            check_written_files,
            *([preflight.check] if is_check else []),
        ]
        self.settings = self.load(self.folder if is_elsewhere else Path(), checks=checks, refused=self._refused)
        if is_check:
            _escape_output()
            print(f"pushd: configuration is valid ({self['config'] or 'no file'})")
            for sentence in preflight.report(self.settings):
                print(f"pushd: {sentence}")
            raise SystemExit

    def _enter_run_directory(self) -> bool:
        """Change to the directory of twistd's ``--rundir``, which twistd would do after it has loaded the certificates.
        So all relative paths of the configuration have one meaning.

        :return: whether there is such an option.
        :raises UsageError: when it is no accessible directory.
        """
        twistd: Any = self.parent or {}
        folder = twistd.get("rundir") or "."
        if folder == "." or twistd.get("chroot"):
            return False
        try:
            os.chdir(folder)
        except OSError as error:
            raise UsageError(f"--rundir: {folder}: {error.strerror}") from error
        twistd["rundir"] = "."
        return True

    def load(
        self, folder: Path, running: Collection[str] = (), checks: Sequence[Check] = (), refused: Sequence[str] = ()
    ) -> Config:
        """Load the configuration and check it.

        :param folder: to which the name of the file is relative.
        :param running: the endpoint strings that listen already; see `check_listeners`.
        :param checks: more checks of it.
        :param refused: sentences about the command line, to report with other mistakes.
        :raises ConfigError: with all mistakes.
        """
        from twisted.internet import reactor

        file = self["config"]
        if file == "":
            refused = (*refused, "option --config: must not be empty")
        listeners = partial(check_listeners, reactor=reactor, running=running)
        every: Sequence[Check] = (listeners, check_backend, check_origins, *checks)
        return load(folder / file if file else None, os.environ, self.given, every, refused)


def _text_option(row: Setting) -> Callable[[Options, str], None]:
    def take(self: Options, text: str) -> None:
        self.given.setdefault(row.key, []).append(text)

    take.__doc__ = _help_text(row)
    return take


def _flag_option(row: Setting) -> Callable[[Options], None]:
    def take(self: Options) -> None:
        self.given[row.key] = ["true"]

    take.__doc__ = _help_text(row)
    return take


def _help_text(row: Setting) -> str:
    value = row.default
    default = " ".join(value) or "none" if row.repeatable else str(value).lower() if row.is_flag else value
    unit = f"{row.unit}, " if row.unit else ""
    repeatable = "repeatable, " if row.repeatable else ""
    return f"{row.description} [{unit}{repeatable}default: {default}]"


for _row in SETTINGS:
    setattr(Options, f"opt_{_row.option}".replace("-", "_"), _text_option(_row))
    if _row.alias:
        setattr(Options, f"opt_{_row.alias}", _flag_option(_row) if _row.is_flag else _text_option(_row))


class RootService(StartOrExit):
    """The service that twistd runs: it sets the log observer, and exits with one sentence if it cannot start."""

    def __init__(self, observer: ILogObserver | None, report: Callable[[str], None]) -> None:
        """`observer` is None if twistd keeps its own log."""
        super().__init__(report)
        self._observer = observer

    def setServiceParent(self, parent: Componentized) -> None:
        """Set the log observer of the application: twistd reads it before it starts anything."""
        if self._observer is not None:
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Start, and exclude from garbage collection the objects that exist by then.

        A full collection takes some 100 ms with ten thousand connections, which live long and are freed by their
        reference counts.
        """
        super().startService()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)

    def stopService(self) -> Any:
        """Stop. A second signal ends the process immediately."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        return super().stopService()


def makeService(options: Options) -> IService:
    """Return the service of pushd for twistd.

    :raises SystemExit: with one sentence, when the log cannot be written.
    """
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    config = options.settings
    twistd: Mapping[str, Any] = options.parent or {}
    out = _log_output(twistd)
    threshold = Threshold(config.log.level, config.log.levels)
    observer = log_observer(out, log_form(config.log.format, os.environ), threshold) if out else None
    program = RootService(observer, _report_to_terminal if out is sys.stdout else _report_to_terminal_and_log)
    _check_audit(config, twistd)
    _check_pid_file(twistd)
    try:
        daemon = make_service(config, reactor)
    except ConfigError as error:
        raise SystemExit(f"pushd: {error}") from error
    if links := service_links(os.environ):
        _log.info("Ignored variables that Kubernetes sets for Services: {names}", names=", ".join(links))
    _rotate_on_signal(out, daemon.reopen_logs, reactor)
    load = partial(options.load, options.folder, (*config.http.listen, *config.http.admin_listen, *config.tcp.listen))
    # Before the daemon, since the signal would end the process, which accepts connections before it has started wholly.
    Reload(load, config, daemon, threshold, reactor).setServiceParent(program)
    daemon.setServiceParent(program)
    return program


def log_form(setting: str, environ: Mapping[str, str]) -> str:
    """Return the format of the log; ``auto`` is "json" if systemd started the daemon, else "text"."""
    under_systemd = "JOURNAL_STREAM" in environ or "INVOCATION_ID" in environ
    return setting if setting != "auto" else "json" if under_systemd else "text"


def _check_audit(config: Config, twistd: Mapping[str, Any]) -> None:
    """Refuse an audit log on standard output where there is none.

    :raises SystemExit: with one sentence.
    """
    if config.log.audit == STDOUT and "nodaemon" in twistd and not twistd["nodaemon"]:
        raise SystemExit("pushd: log.audit: a daemon has no standard output; name a file, or run twistd with -n")


def _check_pid_file(twistd: Mapping[str, Any]) -> None:
    """Refuse a file for the process id that cannot be written: twistd would end with a traceback.

    :raises SystemExit: with one sentence.
    """
    name = twistd.get("pidfile")
    if name and (reason := why_unwritable(Path(name))):
        raise SystemExit(
            f"pushd: cannot write the process id to {name}: {reason}; use twistd's --pidfile FILE or --pidfile="
        )


def _log_output(twistd: Mapping[str, Any]) -> IO[Any] | None:
    """Return the stream to which twistd would log; None if its options select a logger or syslog.

    :raises SystemExit: with one sentence, when it cannot be opened.
    """
    if "nodaemon" not in twistd or twistd["logger"] or twistd.get("syslog"):
        return None
    name = twistd["logfile"]
    if twistd["nodaemon"] and name in (None, "", "-"):
        _escape_output()
        return sys.stdout
    if name == "-":
        raise SystemExit("pushd: a daemon cannot log to the terminal")
    try:
        file: Any = SharedLogFile.fromFullPath(name or "twistd.log")
    except OSError as error:
        raise SystemExit(f"pushd: cannot log to {name or 'twistd.log'}: {error.strerror}") from error
    output: IO[Any] = file
    return output


def _escape_output() -> None:
    """Escape what standard output cannot encode: the locale may have no UTF-8, and names of files may not be UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _rotate_on_signal(out: IO[Any] | None, reopen_audit: Callable[[], bool], reactor: Any) -> None:
    """Rotate or reopen the logs on the signal USR1. Without a file it has no effect: it would end the process."""

    def rotate() -> None:
        is_reopened = reopen_audit()
        if isinstance(out, SharedLogFile):
            out.rotate_or_reopen()
        elif not is_reopened:
            _log.warn("Signal USR1 is ignored: the log is not a file of twistd's --logfile")

    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(rotate))


def _report_to_terminal(sentence: str) -> None:
    print(f"pushd: {sentence}", file=sys.__stderr__)


def _report_to_terminal_and_log(sentence: str) -> None:
    _report_to_terminal(sentence)
    _log.critical("{sentence}", sentence=sentence)
