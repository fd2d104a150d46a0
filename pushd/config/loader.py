"""Loading the configuration: from the file, the environment and the command line, checked as a whole."""

import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pushd.config.auth import ANONYMOUS, ISSUER, URL_KEYS, read_anonymous, read_url_keys
from pushd.config.callback import CALLBACK, read_callback
from pushd.config.channels import read_channels
from pushd.config.dialects import SECTION as DIALECTS
from pushd.config.dialects import read_dialects
from pushd.config.fields import suggestion
from pushd.config.hooks import read_hooks
from pushd.config.issuers import read_issuers
from pushd.config.sources import read_sources
from pushd.config.table import SECTIONS, SETTINGS, Config, ConfigError, Setting
from pushd.core.grant import NOTHING
from pushd.net.listeners import Reach, check_endpoint, exposed, inherited_name, is_local, reach_of

T = TypeVar("T")
_BY_KEY = {row.key: row for row in SETTINGS}
_BY_VARIABLE = {row.variable: row for row in SETTINGS}
_OF_CLIENTS = frozenset({"PUSHD_TOKEN", "PUSHD_TOKEN_FILE"})
"""The variables of pushctl, which the environment of the daemon may contain."""

_BYTE_ORDER_MARK = "\ufeff"
_Given = tuple[str, Setting, object]


def load(file: Path | None, environ: Mapping[str, str], options: Mapping[str, Sequence[str]]) -> Config:
    """Load the configuration. Options override the environment, which overrides the file, which overrides the defaults.

    :param environ: environment variables; those that do not begin with ``PUSHD_`` are ignored.
    :param options: texts by key, such as ``limits.message``, in their order: a list takes all, other settings the last.
    :raises ConfigError: for the first error.
    """
    chosen: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    content = _read(file) if file else {}
    sources = _tables(file, content.pop("source", {}), read_sources)
    channels = _tables(file, content.pop("channel", []), read_channels)
    hooks = _tables(file, content.pop("hook", {}), read_hooks)
    anonymous = _part_of_auth(file, content, ANONYMOUS, read_anonymous)
    issuers = _part_of_auth(file, content, ISSUER, read_issuers)
    url_keys = _part_of_auth(file, content, URL_KEYS, read_url_keys)
    callback = _part_of_auth(file, content, CALLBACK, read_callback)
    dialects = _tables(file, content.get(DIALECTS), _of_dialects)
    places = (_of_file(file, content) if file else (), _of_environment(environ), _of_options(options))
    for where, row, raw in (given for place in places for given in place):
        try:
            chosen[row.section][row.name] = row.parse(raw)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error
    sections = {section: kind(**chosen[section]) for section, kind in SECTIONS.items()}
    is_enabled = bool(chosen["auth"]) or any(part is not None for part in (anonymous, issuers, url_keys, callback))
    auth = replace(
        sections["auth"],
        anonymous=anonymous or NOTHING,
        issuers=issuers or (),
        url_keys=url_keys or (),
        callback=callback,
        is_enabled=is_enabled,
    )
    sections["auth"] = auth
    sections[DIALECTS] = replace(sections[DIALECTS], **dialects)
    return Config(**sections, sources=sources, channels=channels, hooks=hooks)


def check_listeners(config: Config, reactor: Any, running: Collection[str] = ()) -> None:
    """Check the endpoint strings of the listeners.

    :param running: those that listen already. They are not checked again, since their files may not be readable any
        more without the privileges of the start.
    :raises ConfigError: when one is invalid, or needs `access.open`.
    """
    for key, endpoint_text in _listeners(config):
        if endpoint_text in running:
            continue
        try:
            check_endpoint(endpoint_text, reactor)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from error
        if not (_is_protected(config) or is_local(endpoint_text)):
            raise ConfigError(
                f"{key}: {endpoint_text} is open to other machines; add interface=127.0.0.1, set up [auth], "
                "or start with --open to let anyone publish and subscribe"
            )
    if not (config.http.listen or config.tcp.listen):
        raise ConfigError("http.listen and tcp.listen must not both be empty: at least one listener is required")


def check_inherited_sockets(config: Config, reactor: Any, *, are_required: bool = True) -> None:
    """Check the sockets inherited from systemd. Only at the start: later a descriptor may be another one.

    :param are_required: whether they must exist.
    :raises ConfigError: when one does not, or needs `access.open`.
    """
    for key, endpoint_text in _listeners(config):
        try:
            name = inherited_name(endpoint_text, reactor)
        except LookupError as error:
            if not are_required:
                continue
            raise ConfigError(
                f"{key}: {endpoint_text}: systemd has passed no such socket; start the socket unit instead"
            ) from error
        except OSError as error:
            raise ConfigError(f"{key}: {endpoint_text} is not a socket: {error.strerror}") from error
        if name is not None and reach_of(name) is Reach.OTHERS and not _is_protected(config):
            raise ConfigError(f"{key}: {exposed(endpoint_text, name)}")


def _listeners(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the endpoint string of each listener with the key of its setting."""
    http = config.http
    for key, endpoints in (
        ("http.listen", http.listen),
        ("http.admin_listen", http.admin_listen),
        ("tcp.listen", config.tcp.listen),
    ):
        for endpoint_text in endpoints:
            yield key, endpoint_text


def _is_protected(config: Config) -> bool:
    """Return whether listeners may be open to other machines: tokens are needed there, or the operator wants it."""
    return config.access.open or config.auth.is_enabled


def check_origins(config: Config) -> None:
    """Check that the settings of pages of other origins agree.

    :raises ConfigError: when every page of the web would act for the users whose cookies the browser sends.
    """
    if config.http.allow_credentials and "*" in config.http.allow_origins:
        raise ConfigError("http.allow_credentials: http.allow_origins must name the origins, and must not be *")


def check_backend(config: Config) -> None:
    """Check that the settings of the backend agree.

    :raises ConfigError: when they do not.
    """
    backend = config.backend
    if backend.kind == "sqlite" and not backend.data_dir:
        raise ConfigError("backend.kind: sqlite requires a directory; use --data-dir DIR")
    if backend.kind == "redis" and not backend.url:
        raise ConfigError("backend.kind: redis requires a URL; use --redis redis://HOST")
    if backend.kind not in ("auto", "sqlite") and backend.data_dir:
        raise ConfigError(f"backend.data_dir: must not be set for the backend {backend.kind}")
    if backend.kind not in ("auto", "redis") and backend.url:
        raise ConfigError(f"backend.url: must not be set for the backend {backend.kind}")
    if config.auth.revocations_file and (backend.data_dir or backend.url):
        raise ConfigError("auth.revocations_file: is for the memory backend only; others keep revocations themselves")
    if backend.data_dir and backend.url:
        raise ConfigError(
            "backend.data_dir and backend.url must not both be set: the history is kept either on disk or in Redis"
        )


def _of_file(file: Path, content: Mapping[str, object]) -> Iterator[_Given]:
    for section, rows in content.items():
        if section not in SECTIONS:
            known = (*SECTIONS, "source", "hook.NAME", "[channel]")
            raise ConfigError(f"{file}: unknown section [{section}]{suggestion(section, known, '[{}]')}")
        if not isinstance(rows, dict):
            raise ConfigError(f"{file}: {section} must be a section, written [{section}]")
        for name, raw in rows.items():
            key = f"{section}.{name}"
            if key not in _BY_KEY:
                raise ConfigError(f"{file}: unknown key {key}{suggestion(key, _BY_KEY)}")
            yield f"{file}: {key}", _BY_KEY[key], raw


def _part_of_auth(file: Path | None, content: Mapping[str, object], key: str, read: Callable[[object], T]) -> T | None:
    """Remove a table from the section [auth] and return what it describes; None if there is none."""
    section = content.get("auth")
    if not isinstance(section, dict) or key not in section:
        return None
    try:
        return read(section.pop(key))
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error


def _of_dialects(section: object) -> dict[str, Any]:
    """Remove the tables of dialects from their section, and return what they describe."""
    return read_dialects(section) if isinstance(section, dict) else {}


def _tables(file: Path | None, tables: object, read: Callable[[object], T]) -> T:
    """Return what tables describe whose names or patterns are up to the operator."""
    try:
        return read(tables)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        if text.startswith(_BYTE_ORDER_MARK):
            raise ConfigError(f"{file}: begins with a byte order mark; save it as UTF-8 without one")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error


def _of_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    for variable in sorted(name for name in environ if name.startswith("PUSHD_") and name not in _OF_CLIENTS):
        if variable not in _BY_VARIABLE:
            raise ConfigError(f"environment: unknown variable {variable}{suggestion(variable, _BY_VARIABLE)}")
        yield f"environment {variable}", _BY_VARIABLE[variable], environ[variable]


def _of_options(options: Mapping[str, Sequence[str]]) -> Iterator[_Given]:
    for key, texts in options.items():
        row = _BY_KEY[key]
        yield f"option --{row.option}", row, " ".join(texts) if row.repeatable else texts[-1]
