"""The vocabulary: retired names do not return, refusals say what is wrong, and the terms of the field occur."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushd.core import errors

ROOT = Path(__file__).parent.parent
RETIRED = frozenset(
    {
        "Alarms",
        "BackRow",
        "Fault",
        "Hours",
        "Inbox",
        "Loan",
        "Nowhere",
        "Opening",
        "Paced",
        "PromptServer",
        "Recollection",
        "Repeated",
        "Rules",
        "Unheard",
        "Unusable",
        "Visit",
        "WaitingRoom",
        "ailing",
        "back_row",
        "come_forward",
        "give_over",
        "give_up",
        "go_by",
        "go_by_rules",
        "is_fluid",
        "let_go",
        "obey",
        "relapse",
        "send_at_once",
        "sit_behind",
        "spoke",
        "tell_surplus",
        "time_is_up",
        "turn_in",
        "when_ready",
    }
)
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
REFUSALS = frozenset(
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.Refusal)
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


MODULES = _modules("pushd", "tests", "bench")
PACKAGE = _modules("pushd")
WORDS = " ".join(_words(path.read_text(encoding="utf-8")) for path in PACKAGE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_retired_names_do_not_return(path):
    names = _identifiers(path.read_text(encoding="utf-8"))
    assert [f"{path}:{line}: {name}" for name, line in names if name in RETIRED] == []


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_refusals_say_what_is_wrong_not_what_is_right(path):
    texts = _refusals(path.read_text(encoding="utf-8"))
    assert [f"{path}:{line}: {text}" for text, line in texts if BARE_NORM.match(text)] == []


@pytest.mark.parametrize("term", TERMS)
def test_term_of_the_field_is_used(term):
    assert re.search(rf"\b{term.replace('-', ' ')}", WORDS)


def test_modules_and_refusals_are_found():
    assert len(PACKAGE) > 100
    assert len([text for path in PACKAGE for text, _ in _refusals(path.read_text(encoding="utf-8")) if text]) > 50


def test_bare_norm_is_recognized():
    source = 'raise BadChannel("a channel name is not empty")\nraise errors.BadTtl(f"a ttl of {ttl} is wrong")\n'
    assert list(_refusals(source)) == [("a channel name is not empty", 1), ("a ttl of {} is wrong", 2)]
    assert BARE_NORM.match("a channel name is not empty")
    assert not BARE_NORM.match("channel name must not be empty")
