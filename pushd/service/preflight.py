"""What ``--check`` examines beyond the start: what the daemon needs from the machine and the network."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pushd.audit.output import STDOUT
from pushd.backends.interface import BackendUnusable
from pushd.config.checks import listening
from pushd.config.mistakes import KeyPath, Mistake, key_of
from pushd.config.sources import CommandSource, WatchSource
from pushd.config.table import Config
from pushd.net.bindings import binding_of, why_unavailable
from pushd.net.listeners import is_local
from pushd.service.backend import check_backend_usable


class Preflight:
    """The check of a configuration on this machine. Nothing is created or changed."""

    def __init__(self) -> None:
        self._history: str | None = None

    def check(self, config: Config) -> Iterator[Mistake]:
        """Yield what would fail at the start, or later."""
        yield from _check_programs(config)
        if config.backend.ca_file and not os.access(config.backend.ca_file, os.R_OK):
            yield Mistake(("backend", "ca_file"), f"{config.backend.ca_file}: cannot be read")
        try:
            self._history = check_backend_usable(config)
        except BackendUnusable as fault:
            yield Mistake(("backend", "data_dir"), str(fault))

    def report(self, config: Config) -> Iterator[str]:
        """Yield sentences about a valid configuration, and warnings about what may be different at the start."""
        for each in listening(config):
            who = "this machine only" if is_local(each.text) else "other machines too"
            yield f"{key_of(each.path)}: {each.text}, for {who}"
        if self._history is not None:
            yield self._history
        yield from (f"warning: {sentence}" for sentence in _warnings(config))


def _warnings(config: Config) -> Iterator[str]:
    for each in listening(config):
        binding = binding_of(each.text)
        is_shared = config.tcp.reuse_port if each.path[0] == "tcp" else config.http.reuse_port
        if binding and (reason := why_unavailable(binding, is_shared=is_shared)):
            yield f"{key_of(each.path)}: {each.text} is not available now: {reason}"
    for source in config.sources:
        if isinstance(source, WatchSource) and not os.path.isdir(source.folder):
            yield f"{key_of(('source', source.name, 'folder'))}: {source.folder} does not exist yet"
    if config.backend.url:
        # Imported where it is needed: the libraries take time and memory.
        from pushd.backends.redis.address import parse_url
        from pushd.backends.redis.reachability import why_unreachable

        address = parse_url(config.backend.url)
        if reason := why_unreachable(address, config.backend.ca_file):
            yield f"backend.url: Redis at {address} is not reachable now: {reason}; a node waits for it at the start"


def _check_programs(config: Config) -> Iterator[Mistake]:
    for source in config.sources:
        if isinstance(source, CommandSource) and shutil.which(source.run[0]) is None:
            path: KeyPath = ("source", source.name, "run")
            yield Mistake(path, f"the program {source.run[0]} cannot be found or executed")


def check_written_files(config: Config) -> Iterator[Mistake]:
    """Check the files that the daemon writes besides the history."""
    files = (("log", "audit"), config.log.audit), (("auth", "revocations_file"), config.auth.revocations_file)
    for path, name in files:
        if name not in ("", STDOUT) and (reason := why_unwritable(Path(name))):
            yield Mistake(path, f"{name}: {reason}")


def why_unwritable(file: Path) -> str | None:
    """Return why a file could not be written; None if it could."""
    if file.is_dir():
        return os.strerror(errno.EISDIR)
    if file.exists():
        return None if os.access(file, os.W_OK) else os.strerror(errno.EACCES)
    if not file.parent.is_dir():
        return os.strerror(errno.ENOENT)
    return None if os.access(file.parent, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
