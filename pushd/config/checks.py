"""Checks of the whole configuration: settings that do not agree, and listeners that could not be opened."""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from pushd.config.endpoints import ACCEPTED
from pushd.config.mistakes import KeyPath, Mistake, key_of
from pushd.config.table import Config
from pushd.net.bindings import Binding, binding_of
from pushd.net.endpoint_errors import UnusableFiles
from pushd.net.listeners import Reach, check_endpoint, exposed, inherited_name, is_local, reach_of

_LISTENERS = (("http", "listen"), ("http", "admin_listen"), ("tcp", "listen"))


class Listening(NamedTuple):
    """An endpoint string of the configuration."""

    path: KeyPath
    number: int
    """Its position in the setting, from 1."""
    text: str

    def mistake(self, reason: str) -> Mistake:
        """Return a mistake of it."""
        return Mistake(self.path, reason, at=(*self.path, self.number))


def listening(config: Config) -> Iterator[Listening]:
    """Yield all endpoint strings."""
    for path in _LISTENERS:
        section, name = path
        for number, text in enumerate(getattr(getattr(config, section), name), 1):
            yield Listening(path, number, text)


def check_listeners(config: Config, reactor: Any, running: Collection[str] = ()) -> Iterator[Mistake]:
    """Check the endpoint strings of the listeners.

    :param running: those that listen already. They are not checked again, since their files may not be readable any
        more without the privileges of the start.
    """
    valid = []
    for each in listening(config):
        if each.text in running:
            continue
        try:
            check_endpoint(each.text, reactor)
        except UnusableFiles as error:
            yield each.mistake(str(error))
        except ValueError as error:
            hint = f"; {ACCEPTED}" if "Unknown endpoint type" in str(error) else ""
            yield each.mistake(f"{error}{hint}")
            continue
        valid.append(each)
        if not (_is_protected(config) or is_local(each.text)):
            yield each.mistake(
                f"{each.text} is open to other machines; add interface=127.0.0.1, set up [auth], "
                "or start with --open to let anyone publish and subscribe"
            )
    yield from _check_distinct(valid)
    if not (config.http.listen or config.tcp.listen):
        reason = "http.listen and tcp.listen must not both be empty: at least one listener is required"
        yield Mistake(("http", "listen"), reason, names_key=True, involves=(("tcp", "listen"),))


def _check_distinct(listeners: list[Listening]) -> Iterator[Mistake]:
    """Check that no two listeners bind the same port of the same address, whatever their protocol, or the same file."""
    bound: list[tuple[Listening, Binding]] = []
    for each in listeners:
        binding = binding_of(each.text)
        if binding is None:
            continue
        first = next((other for other, taken in bound if taken.excludes(binding)), None)
        if first is not None:
            place = f"port {binding.place}" if isinstance(binding.place, int) else binding.place
            yield Mistake(
                each.path,
                f"{each.text} needs {place}, which {key_of(first.path)} uses for {first.text}",
                at=(*each.path, each.number),
                involves=(first.path,),
            )
        bound.append((each, binding))


def check_inherited_sockets(config: Config, reactor: Any, *, are_required: bool = True) -> Iterator[Mistake]:
    """Check the sockets inherited from systemd. Only at the start: later a descriptor may be another one.

    :param are_required: whether they must exist.
    """
    for each in listening(config):
        try:
            check_endpoint(each.text, reactor)
        except ValueError:
            continue  # `check_listeners` reports it
        try:
            name = inherited_name(each.text, reactor)
        except LookupError:
            if are_required:
                reason = "systemd has passed no such socket; start the socket unit instead"
                yield each.mistake(f"{each.text}: {reason}")
        except OSError as error:
            yield each.mistake(f"{each.text} is not a socket: {error.strerror}")
        else:
            if name is not None and reach_of(name) is Reach.OTHERS and not _is_protected(config):
                yield each.mistake(exposed(each.text, name))


def _is_protected(config: Config) -> bool:
    """Return whether listeners may be open to other machines: tokens are needed there, or the operator wants it."""
    return config.access.open or config.auth.is_enabled


def check_origins(config: Config) -> Iterator[Mistake]:
    """Check that not every page of the web acts for the users whose cookies the browser sends."""
    if config.http.allow_credentials and "*" in config.http.allow_origins:
        origins = ("http", "allow_origins")
        reason = f"{key_of(origins)} must name the origins, and must not be *"
        yield Mistake(("http", "allow_credentials"), reason, involves=(origins,))


def check_backend(config: Config) -> Iterator[Mistake]:
    """Check that the settings of the backend agree."""
    backend = config.backend
    kind, data_dir, url = ("backend", "kind"), ("backend", "data_dir"), ("backend", "url")
    if backend.kind == "sqlite" and not backend.data_dir:
        yield Mistake(kind, "sqlite requires a directory; use --data-dir DIR", involves=(data_dir,))
    if backend.kind == "redis" and not backend.url:
        yield Mistake(kind, "redis requires a URL; use --redis redis://HOST", involves=(url,))
    if backend.kind not in ("auto", "sqlite") and backend.data_dir:
        yield Mistake(data_dir, f"must not be set for the backend {backend.kind}", involves=(kind,))
    if backend.kind not in ("auto", "redis") and backend.url:
        yield Mistake(url, f"must not be set for the backend {backend.kind}", involves=(kind,))
    if config.auth.revocations_file and (backend.data_dir or backend.url):
        reason = "is for the memory backend only; others keep revocations themselves"
        yield Mistake(("auth", "revocations_file"), reason, involves=(data_dir, url))
    if backend.data_dir and backend.url and backend.kind == "auto":
        reason = "must not be set together with backend.data_dir: the history is kept either on disk or in Redis"
        yield Mistake(url, reason, involves=(data_dir,))
