"""The vocabulary: retired names do not return, refusals say what is wrong, and the terms of the field lead to code."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushd.core import errors
from pushd.http import refusals

ROOT = Path(__file__).parent.parent
RETIRED = frozenset(
    {
        "Alarms",
        "BackRow",
        "Course",
        "Crowds",
        "Fault",
        "Formatted",
        "Hours",
        "Inbox",
        "Life",
        "Loan",
        "Losses",
        "Nowhere",
        "Opening",
        "Paced",
        "PromptServer",
        "Recalled",
        "Recollection",
        "Repeated",
        "Rules",
        "Saying",
        "SteadyWire",
        "Unheard",
        "Unusable",
        "Visit",
        "WaitingRoom",
        "Wanted",
        "_Silence",
        "_ailing",
        "_crowds",
        "_know_no_more",
        "_let_go",
        "_see_many",
        "_tour",
        "_work_out",
        "affordable",
        "ailing",
        "back_row",
        "by_sse",
        "come_forward",
        "crowds",
        "cures",
        "examination",
        "find_dead_peers",
        "give_over",
        "give_up",
        "go_by",
        "go_by_rules",
        "go_live_at_once",
        "guests",
        "handed_in",
        "is_anybody_busy",
        "is_fluid",
        "lent",
        "let_go",
        "looked_at",
        "lose_oldest",
        "obey",
        "parted",
        "relapse",
        "send_at_once",
        "showing",
        "sit_behind",
        "spoke",
        "strike",
        "tell_surplus",
        "time_is_up",
        "tour",
        "turn_in",
        "unseat",
        "when_ready",
    }
)
RETIRED_IN_PACKAGE = RETIRED | {
    "Accepted",
    "Door",
    "Ear",
    "Heard",
    "WAYS",
    "catching",
    "come_back",
    "crowd",
    "door",
    "doors",
    "doubt",
    "ear",
    "hear",
    "hour",
    "is_told",
    "said",
    "ways",
}
"""Names that tests may still use."""
TERMS = [
    "backend",
    "backpressure",
    "broadcast",
    "catch-up",
    "channel",
    "connection",
    "cursor",
    "deliver",
    "direct-send",
    "disconnect",
    "drain",
    "epoch",
    "evict",
    "expire",
    "fan-out",
    "frame",
    "gap",
    "grant",
    "healthy",
    "heartbeat",
    "held-request",
    "history",
    "idempotency",
    "keepalive",
    "kick",
    "latest",
    "live",
    "low-priority",
    "message",
    "node",
    "pattern",
    "pause",
    "peer",
    "ping",
    "publish",
    "queue",
    "reconfigure",
    "refusal",
    "reload",
    "replay",
    "resume",
    "resync",
    "slow-consumer",
    "subscribe",
    "subscriber",
    "topic",
    "transport",
    "unavailable",
    "unsubscribe",
    "wire",
]
FIELD = [
    "acknowledge",
    "admission",
    "backoff",
    "backpressure",
    "broadcast",
    "catch-up",
    "checkpoint",
    "chunked",
    "close-frame",
    "cursor",
    "deduplication",
    "disconnect",
    "drain",
    "epoch",
    "eviction",
    "expire",
    "failover",
    "fan-out",
    "flush",
    "framing",
    "gap",
    "graceful-shutdown",
    "half-close",
    "healthy",
    "heartbeat",
    "history",
    "hot-reload",
    "idempotency",
    "keepalive",
    "kick",
    "lag",
    "leader",
    "long-polling",
    "multipart",
    "offset",
    "ping",
    "pipelining",
    "pong",
    "publish",
    "queue",
    "quota",
    "rate-limit",
    "reconnect",
    "replay",
    "resync",
    "retention",
    "server-sent-events",
    "shard",
    "slow-consumer",
    "subscribe",
    "unsubscribe",
    "upgrade",
    "WebSocket-handshake",
    "wildcard",
]
"""What an engineer of the field would search for, whether pushd uses the word or another one."""
WRITTEN = ("api", "core", "ctl", "http", "hub", "net", "service", "sources", "transports", "wire")
"""The packages whose comments and docstrings are in plain English throughout."""
DIALECT = re.compile(
    r"\b(?:know (?:that|the hour)|tells? (?:whether|what|how|who)|gives? back|given back|lets? go|hears?|heard"
    r"|who listens|whoever|be it|amid|for ever|can not|ails?|ailing|ailment|crowds?|the store|(?:is|are) told)\b",
    re.IGNORECASE,
)
"""Phrases that personify code, and words for which the field has others."""
REFUSALS = frozenset(
    name
    for name, value in (vars(errors) | vars(refusals)).items()
    if isinstance(value, type) and issubclass(value, errors.Refusal)
)
BARE_NORM = re.compile(r"(?:a|an|the) (?!daemon is )[a-z -]+ (?:is|has|holds|are) ", re.IGNORECASE)
"""The norm instead of what is wrong; that the daemon is shutting down is a fact."""


def _modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _identifiers(source: str) -> Iterator[tuple[str, int]]:
    """Yield each name of a module and its line; strings and comments are not names."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.string, token.start[0]


def _prose(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each string and comment of a module, and its first line."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            yield " ".join(token.string.split()), token.start[0]


def _text(node: ast.expr) -> str:
    """Return a constant or an f-string as text, `{}` in place of each value; else an empty text."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) or "{}" for part in parts)
        case _:
            return ""


def _refusals(source: str) -> Iterator[tuple[str, int]]:
    """Yield the text of each refusal that a module constructs, and its line."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in REFUSALS:
            yield _text(node.args[0]), node.lineno


def _words(source: str) -> str:
    """Return all words of a module in lower case, those of camel case apart, separated by spaces."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", source)
    return " ".join(re.findall(r"[a-z0-9]+", apart.lower()))


def _places() -> Iterator[tuple[list[str], str, list[str]]]:
    """Yield the rows of "Where it happens" in the glossary: the terms, the words of other systems, and the paths."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for row in text.partition("\n## Where it happens\n")[2].splitlines():
        if row.startswith("| **"):
            terms, others, paths = row.strip("| ").split(" | ")
            bold = [term for names in re.findall(r"\*\*(.+?)\*\*", terms) for term in names.split(", ")]
            yield bold, f"{terms} {others}", re.findall(r"`(.+?)`", paths)


def _words_in(path: Path) -> str:
    """Return the words of a module, or of all modules of a package."""
    paths = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return " ".join(_words(each.read_text(encoding="utf-8")) for each in paths)


def _has(words: str, term: str) -> bool:
    """Return whether a term occurs in words, possibly with an ending, such as "evicted" for "evict"."""
    return re.search(rf"\b{re.escape(_words(term))}", words) is not None


PLACES = list(_places())
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
MODULES = _modules("pushd", "clients/python", "tests", "bench")
PACKAGE = _modules("pushd", "clients/python")
WORDS = " ".join(_words(path.read_text(encoding="utf-8")) for path in PACKAGE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_retired_names_do_not_return(path):
    retired = RETIRED_IN_PACKAGE if path in PACKAGE else RETIRED
    names = _identifiers(path.read_text(encoding="utf-8"))
    assert [f"{path}:{line}: {name}" for name, line in names if name in retired] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_do_not_quote_retired_names(path):
    names = {name for name in RETIRED if "_" in name or re.search("[a-z][A-Z]", name)}
    assert sorted(names & set(re.findall(r"\w+", path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "path",
    _modules(*(f"pushd/{name}" for name in WRITTEN), "clients/python"),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_prose_is_plain_english(path):
    found = [(line, match[0]) for text, line in _prose(path) for match in DIALECT.finditer(text)]
    assert [f"{path}:{line}: {phrase}" for line, phrase in found] == []


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_refusals_say_what_is_wrong_not_what_is_right(path):
    texts = _refusals(path.read_text(encoding="utf-8"))
    assert [f"{path}:{line}: {text}" for text, line in texts if BARE_NORM.match(text)] == []


@pytest.mark.parametrize("term", TERMS)
def test_term_of_the_field_is_used(term):
    assert re.search(rf"\b{term.replace('-', ' ')}", WORDS)


@pytest.mark.parametrize(("terms", "paths"), [(terms, paths) for terms, _, paths in PLACES], ids=str)
def test_term_of_the_glossary_is_found_where_it_says(terms, paths):
    words = {path: _words_in(ROOT / "pushd" / path) for path in paths}
    assert [term for term in terms if not any(_has(text, term) for text in words.values())] == []
    assert [path for path, text in words.items() if not any(_has(text, term) for term in terms)] == []


@pytest.mark.parametrize("word", FIELD)
def test_word_of_the_field_leads_to_a_module(word):
    assert any(re.search(rf"\b{_words(word)}\b", _words(row)) for _, row, _ in PLACES)


def test_places_of_the_glossary_are_found():
    assert len(PLACES) > 45
    assert len(PAGES) > 10
    assert all(terms and paths for terms, _, paths in PLACES)


def test_modules_and_refusals_are_found():
    assert len(PACKAGE) > 100
    assert len([text for path in PACKAGE for text, _ in _refusals(path.read_text(encoding="utf-8")) if text]) > 50


def test_bare_norm_is_recognized():
    source = 'raise BadChannel("a channel name is not empty")\nraise errors.BadTtl(f"a ttl of {ttl} is wrong")\n'
    assert list(_refusals(source)) == [("a channel name is not empty", 1), ("a ttl of {} is wrong", 2)]
    assert BARE_NORM.match("a channel name is not empty")
    assert not BARE_NORM.match("channel name must not be empty")
