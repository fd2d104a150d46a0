"""Loading the configuration: from the file, the environment and the command line, checked as a whole.

All mistakes are collected, and reported together: each with the line of the file, the variable or the option.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pushd.config.auth import ANONYMOUS, ISSUER, URL_KEYS, read_anonymous, read_url_keys
from pushd.config.callback import CALLBACK, read_callback
from pushd.config.channels import read_channels
from pushd.config.config_file import ConfigFile, read_config_file
from pushd.config.dialects import KINDS as DIALECTS
from pushd.config.dialects import SECTION as DIALECTS_SECTION
from pushd.config.dialects import field_of, read_dialect
from pushd.config.environment import unknown_variable, variables
from pushd.config.hooks import read_hooks
from pushd.config.issuers import read_issuers
from pushd.config.mistakes import ConfigError, KeyPath, Mistake, Mistakes, key_of, suggestion
from pushd.config.sources import read_sources
from pushd.config.table import SECTIONS, SETTINGS, Config, Setting
from pushd.core.channel_rules import ChannelRules

_BY_KEY = {row.key: row for row in SETTINGS}
_NESTED: Mapping[str, Mapping[str, tuple[str, Callable[[object], Any]]]] = {
    "auth": {
        ANONYMOUS: ("anonymous", read_anonymous),
        ISSUER: ("issuers", read_issuers),
        URL_KEYS: ("url_keys", read_url_keys),
        CALLBACK: ("callback", read_callback),
    },
    DIALECTS_SECTION: {name: (field_of(name), partial(read_dialect, name)) for name in DIALECTS},
}
"""The tables within each section by their keys: the field of its class, and what reads it."""
_TABLES: Mapping[str, tuple[Callable[[object], Any], object]] = {
    "source": (read_sources, ()),
    "channel": (read_channels, ChannelRules()),
    "hook": (read_hooks, ()),
}
"""The tables whose names or patterns are up to the operator, and their values if there are none."""
_KNOWN_SECTIONS = {**{name: f"[{name}]" for name in SECTIONS}, "source": "[source]", "hook": "[hook.NAME]"}
_KNOWN_SECTIONS["channel"] = "[[channel]]"

Check = Callable[[Config], Iterable[Mistake]]
"""Returns the mistakes of settings that do not agree, or that name what does not exist."""


def load(
    file: Path | None,
    environ: Mapping[str, str],
    options: Mapping[str, Sequence[str]],
    checks: Sequence[Check] = (),
    refused: Sequence[str] = (),
) -> Config:
    """Load the configuration. Options override the environment, which overrides the file, which overrides the defaults.

    :param environ: environment variables; those that do not begin with ``PUSHD_`` are ignored, and those that
        Kubernetes sets.
    :param options: texts by key, such as ``limits.message``, in their order: a list takes all, other settings the last.
    :param checks: of the whole configuration. Settings with a mistake have their defaults there.
    :param refused: sentences about other mistakes of the command line, which are reported too.
    :raises ConfigError: with all mistakes.
    """
    loading = _Loading()
    if file is not None:
        loading.read_file(file)
    loading.read_environment(environ)
    loading.read_options(options)
    config = loading.config()
    loading.check(config, checks)
    sentences = [*loading.sentences(), *refused]
    if sentences:
        raise ConfigError(*sentences)
    return config


class _Loading:
    """The values so far, and the mistakes."""

    def __init__(self) -> None:
        self._file: ConfigFile | None = None
        self._is_readable = True
        self._in_file = Mistakes()
        self._elsewhere: list[str] = []
        self._wrong: set[KeyPath] = set()
        """The keys of invalid values."""
        self._places: dict[KeyPath, str] = {}
        """The variable or the option of each setting that has its value from there."""
        self._values: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
        self._tables = {name: default for name, (_, default) in _TABLES.items()}
        self._is_auth_enabled = False

    def read_file(self, path: Path) -> None:
        """Read the file."""
        try:
            self._file = read_config_file(path)
        except ConfigError as error:
            self._is_readable = False
            self._elsewhere += error.sentences
            return
        for section, rows in self._file.content.items():
            if section in _TABLES:
                with self._in_file.collected():
                    self._tables[section] = _TABLES[section][0](rows)
            elif section not in SECTIONS:
                hint = suggestion(section, _KNOWN_SECTIONS, show=_KNOWN_SECTIONS.__getitem__)
                self._in_file.add((section,), f"unknown section [{key_of((section,))}]{hint}", names_key=True)
            elif isinstance(rows, dict):
                self._read_section(section, rows)
            else:
                self._in_file.add((section,), f"must be a section, written [{section}]")
        self._wrong |= {mistake.path for mistake in self._in_file}

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Read the variables that are settings."""
        for name, row in variables(environ):
            if row is None:
                self._elsewhere.append(unknown_variable(name))
            else:
                self._set(row, environ[name], f"environment {name}")

    def read_options(self, options: Mapping[str, Sequence[str]]) -> None:
        """Read the options."""
        for key, texts in options.items():
            row = _BY_KEY[key]
            self._set(row, " ".join(texts) if row.repeatable else texts[-1], f"option --{row.alias or row.option}")

    def config(self) -> Config:
        """Return the configuration, with the default for each setting that is invalid."""
        sections = {section: kind(**self._values[section]) for section, kind in SECTIONS.items()}
        sections["auth"] = replace(sections["auth"], is_enabled=self._is_auth_enabled)
        tables: dict[str, Any] = self._tables
        return Config(**sections, sources=tables["source"], channels=tables["channel"], hooks=tables["hook"])

    def check(self, config: Config, checks: Iterable[Check]) -> None:
        """Check the whole configuration, except where it depends on what has a mistake already."""
        for mistake in (each for check in checks if self._is_readable for each in check(config)):
            if not self._wrong.intersection([mistake.path, *mistake.involves]):
                self._add(mistake)

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each mistake, those of the file in the order of its lines."""
        if self._file is not None:
            yield from map(self._file.sentence, sorted(self._in_file, key=self._file.line_of))
        yield from self._elsewhere

    def _read_section(self, section: str, rows: Mapping[str, object]) -> None:
        self._is_auth_enabled |= section == "auth" and bool(rows)
        for name, raw in rows.items():
            if nested := _NESTED.get(section, {}).get(name):
                field, read = nested
                with self._in_file.collected():
                    self._values[section][field] = read(raw)
            elif row := _BY_KEY.get(f"{section}.{name}"):
                with self._in_file.collected((section, name)):
                    self._values[section][name] = row.parse(raw)
            else:
                sentence = f"unknown key {key_of((section, name))}{_hint(section, name)}"
                self._in_file.add((section, name), sentence, names_key=True)

    def _set(self, row: Setting, text: str, place: str) -> None:
        """Set the value that a variable or an option gives."""
        path = (row.section, row.name)
        mistakes = Mistakes()
        with mistakes.collected(path):
            self._values[row.section][row.name] = row.parse(text)
            self._places[path] = place
        self._elsewhere += (f"{place}: {mistake.reason}" for mistake in mistakes)
        self._wrong |= {mistake.path for mistake in mistakes}
        self._is_auth_enabled |= row.section == "auth"

    def _add(self, mistake: Mistake) -> None:
        """Add a mistake that a check has found, where the value comes from."""
        place = self._places.get(mistake.path)
        if place is not None:
            self._elsewhere.append(f"{place}: {mistake.reason}")
        elif self._file is not None and mistake.path in self._file.lines:
            self._in_file.extend([mistake])
        else:
            self._elsewhere.append(str(mistake))


def _hint(section: str, name: str) -> str:
    """Return a suggestion for an unknown key: one of its section, or the section in which there is such a key."""
    names = [row.name for row in SETTINGS if row.section == section]
    names += _NESTED.get(section, ())
    elsewhere = [row.key for row in SETTINGS if row.name == name]
    within = suggestion(name, names, f"{section}.{{}}".format)
    return within or (f", did you mean {' or '.join(elsewhere)}?" if elsewhere else suggestion(name, _BY_KEY))
