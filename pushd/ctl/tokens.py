"""The commands of `pushctl token`: static tokens, in the file that `auth.tokens_file` names."""

import json
import os
import re
import secrets
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import is_normalized

from pushd.ctl.errors import CtlError
from pushd.ctl.terminal import escape_controls
from pushd.ctl.token_file import add_table, read_tables, remove_table

if TYPE_CHECKING:
    from argparse import _SubParsersAction

TOPIC_LISTS = ("subscribe", "publish", "history", "presence", "enter", "reply", "manage", "deny")
"""The options whose values are lists of topics, as the grant of a token has them."""
WORD_LISTS = ("operate", "tags")
OPERATIONS = ("metrics", "connections", "kick", "channels", "hooks", "revoke", "explain", "*")
_PREFIX = "pushd_"
"""The start of every token, by which scanners recognize one that was published by mistake."""
_RANDOM_BYTES = 32
_MAX_BYTES = 255
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[^\s\x00-\x1f\x7f-\x9f*,?#\\/\ud800-\udfff]+"
_TOPIC = re.compile(rf"(?:(?:{_SEGMENT}|\*)/)*(?:{_SEGMENT}|\*\*?)")
_INVISIBLE = re.compile(r"[\u061c\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_DEFAULT_FILE = "/etc/pushd/tokens.toml"


def add(args: Namespace) -> int:
    """Add a token to the file and print it; only its hash is kept."""
    check_subject(args)
    token = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    entries: dict[str, str | list[str]] = {"sha256": sha256(token.encode()).hexdigest(), "sub": args.sub}
    entries.update(grant_of(args))
    add_table(args.file, args.name, entries)
    print(token)
    return 0


def list_tokens(args: Namespace) -> int:
    """Print the name, the subject and the grant of each token, but not its hash."""
    for name, table in read_tables(args.file).items():
        grant = {key: value for key, value in table.items() if key not in ("sha256", "sub")}
        if args.json:
            print(json.dumps({"name": name, "sub": table.get("sub"), **grant}))
            continue
        shown = [f"{key}={','.join(map(str, value))}" for key, value in grant.items() if isinstance(value, list)]
        print(escape_controls(" ".join([name, str(table.get("sub", "-")), *shown])))
    return 0


def remove(args: Namespace) -> int:
    """Remove a token from the file."""
    remove_table(args.file, args.name)
    print("removed", args.name)
    return 0


def add_token_commands(command: ArgumentParser) -> "_SubParsersAction[ArgumentParser]":
    """Add the commands for the tokens file to the parser of `pushctl token`, and return the parsers of its commands."""
    subparsers = command.add_subparsers(metavar="COMMAND", required=True)
    adding = subparsers.add_parser("add", help="add a token and print it", description="Add a token and print it.")
    adding.set_defaults(run="tokens:add")
    adding.add_argument("name", type=_name, metavar="NAME", help="name of the token in the file")
    add_grant_options(adding)
    _add_file(adding)

    listing = subparsers.add_parser("list", help="list the tokens", description="List the tokens.")
    listing.set_defaults(run="tokens:list_tokens")
    listing.add_argument("--json", action="store_true", help="print one line of JSON per token")
    _add_file(listing)

    removing = subparsers.add_parser("remove", help="remove a token", description="Remove a token.")
    removing.set_defaults(run="tokens:remove")
    removing.add_argument("name", metavar="NAME", help="name of the token in the file")
    _add_file(removing)
    return subparsers


def add_grant_options(command: ArgumentParser) -> None:
    """Add the options of a subject and its grant."""
    command.add_argument("--sub", type=_subject, required=True, help="subject: the user, device or service")
    for key in TOPIC_LISTS:
        add_list(command, key, topic, "T,T", "topics, separated by commas")
    add_list(command, "operate", operation, "OP,OP", f"operations: {', '.join(OPERATIONS)}")
    add_list(command, "tags", _tag, "TAG,TAG", "tags, by which tokens can be revoked")


def grant_of(args: Namespace) -> dict[str, list[str]]:
    """Return the grant that the options describe."""
    given = {key: getattr(args, key) for key in (*TOPIC_LISTS, *WORD_LISTS)}
    return {key: list(dict.fromkeys(values)) for key, values in given.items() if values is not None}


def topic(text: str) -> str:
    """Return a channel name or pattern, in which whole segments may be ``{sub}``.

    :raises ArgumentTypeError: when it is neither.
    """
    is_topic = _TOPIC.fullmatch(text) and len(text.encode()) <= _MAX_BYTES
    if not (is_topic and is_normalized("NFC", text) and not _INVISIBLE.search(text)):
        raise ArgumentTypeError(f"must be channels or patterns separated by commas (got {text!r})")
    if any("{sub}" in segment and segment != "{sub}" for segment in text.split("/")):
        raise ArgumentTypeError(f"must have {{sub}} as a whole segment only (got {text!r})")
    if text.startswith("$presence/"):
        raise ArgumentTypeError(
            f"must list the channel itself; its events of presence follow --presence (got {text!r})"
        )
    return text


def check_subject(args: Namespace) -> None:
    """Check that the subject can replace ``{sub}`` where a topic has that.

    :raises CtlError: when it cannot.
    """
    uses = any("{sub}" in each for key in TOPIC_LISTS for each in getattr(args, key) or ())
    try:
        is_segment = "/" not in args.sub and args.sub[0] not in "*$" and bool(topic(args.sub))
    except ArgumentTypeError:
        is_segment = False
    if uses and not is_segment:
        raise CtlError(
            f"--sub {args.sub!r} cannot replace {{sub}}, because it is not a valid segment of a channel name"
        )


def add_list(
    command: ArgumentParser, key: str, parse: Callable[[str], str], metavar: str, summary: str, dest: str | None = None
) -> None:
    """Add an option whose value is a list of words, separated by commas. It may be repeated."""
    command.add_argument(
        f"--{key}", type=lambda text: [parse(each) for each in text.split(",")] if text else [], action="extend",
        metavar=metavar, help=summary, dest=dest or key,
    )  # fmt: skip


def _add_file(command: ArgumentParser) -> None:
    default = os.environ.get("PUSHD_AUTH_TOKENS_FILE", _DEFAULT_FILE)
    summary = f"the file; environment variable PUSHD_AUTH_TOKENS_FILE (default: {_DEFAULT_FILE})"
    command.add_argument("--file", type=Path, default=Path(default), help=summary)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ArgumentTypeError(f"must have 1 to 64 letters, digits, - and _ (got {text!r})")
    return text


def _subject(text: str) -> str:
    if not text.isprintable() or not 0 < len(text.encode("utf-8", "surrogateescape")) <= _MAX_BYTES:
        raise ArgumentTypeError(f"must have 1 to {_MAX_BYTES} bytes of printable text (got {text!r})")
    return text


def operation(text: str) -> str:
    """Return the name of an operation, or ``*``.

    :raises ArgumentTypeError: when it is neither.
    """
    if text not in OPERATIONS:
        raise ArgumentTypeError(f"must be a list of {', '.join(OPERATIONS)} (got {text!r})")
    return text


def _tag(text: str) -> str:
    if not text or len(text) > _MAX_BYTES or not text.isprintable():
        raise ArgumentTypeError(f"must have 1 to {_MAX_BYTES} printable characters (got {text!r})")
    return text
