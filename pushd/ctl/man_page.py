"""The manual page of pushctl, made from the parser of its command line: ``python -m pushd.ctl.man_page``."""

import sys
from argparse import SUPPRESS, Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator

from pushd.ctl.command_line import build_parser

_FILES_AND_STATUS = """.SH ENVIRONMENT
.TP
.B PUSHCTL_URL
URL of the HTTP listener, as by \\-\\-url.
.TP
.B PUSHCTL_TCP
Address of the TCP line listener, as by \\-\\-tcp.
.TP
.BR PUSHD_TOKEN ", " PUSHD_TOKEN_FILE
The token, or a file that contains it.
.TP
.B NO_COLOR
If it is set, nothing is printed in colors.
.SH EXIT STATUS
.TP
0
Done.
.TP
1
The daemon refused, or something failed; one line on standard error gives the reason.
.TP
2
Wrong usage.
.TP
3
The daemon is unreachable.
.TP
130
Interrupted.
.SH SEE ALSO
docs/pushctl.md and docs/protocol.md of pushd"""


def format_man_page(parser: ArgumentParser) -> str:
    """Return the manual page, as source for troff with the macros man(7)."""
    lines = [
        '.TH PUSHCTL 1 "" pushd "User Commands"',
        ".SH NAME",
        "pushctl \\- publish to, subscribe to and inspect a running pushd",
        ".SH SYNOPSIS",
        ".B pushctl\n[options]\n.I COMMAND\n[arguments]",
        ".SH DESCRIPTION",
        _escape(parser.description or ""),
        ".SH OPTIONS",
        *_arguments(parser),
        ".SH COMMANDS",
        *_commands(parser, ""),
        _FILES_AND_STATUS,
    ]
    return "\n".join(lines) + "\n"


def _commands(parser: ArgumentParser, prefix: str) -> Iterator[str]:
    """Yield a subsection for each command, and for the commands of commands."""
    for commands in (action for action in parser._actions if isinstance(action, _SubParsersAction)):
        for name, command in commands.choices.items():
            yield f".SS {_escape(_synopsis(prefix + name, command))}"
            yield _escape(command.description or "")
            yield from _arguments(command)
            yield from _examples(command.epilog or "")
            yield from _commands(command, f"{name} ")


def _synopsis(name: str, command: ArgumentParser) -> str:
    """Return the name of a command and its positional arguments."""
    words = (_positional(action) for action in command._actions if not action.option_strings)
    return " ".join([name, *words])


def _positional(action: Action) -> str:
    metavar = str(action.metavar or action.dest.upper())
    return {"?": f"[{metavar}]", "+": f"{metavar}..."}.get(str(action.nargs), metavar)


def _arguments(parser: ArgumentParser) -> Iterator[str]:
    """Yield the entries of arguments; those of the connection only once, for the whole command line."""
    is_command = " " in parser.prog
    shared = {option for action in build_parser()._actions for option in action.option_strings} if is_command else ()
    for action in parser._actions:
        is_shared = any(option in shared for option in action.option_strings) and action.default is SUPPRESS
        if is_shared or action.help in (None, SUPPRESS) or isinstance(action, _SubParsersAction):
            continue
        yield ".TP"
        yield f".B {_escape(_name(action))}"
        yield _escape(str(action.help) % {"default": action.default, "prog": parser.prog})


def _name(action: Action) -> str:
    if not action.option_strings:
        return _positional(action)
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return names
    metavar = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    return f"{names} {metavar}"


def _examples(epilog: str) -> Iterator[str]:
    """Yield the examples of a command; what follows them is the same for all commands."""
    examples = epilog.partition("\n\n")[0].removeprefix("examples:\n")
    if examples.startswith("  "):
        yield from (".PP", "Examples:", ".PP", ".nf", ".RS 4")
        yield from (_escape(line.strip()) for line in examples.splitlines())
        yield from (".RE", ".fi")


def _escape(text: str) -> str:
    """Return text in which nothing is markup of troff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("…", "...")
    return f"\\&{escaped}" if escaped.startswith((".", "\\(aq")) else escaped


if __name__ == "__main__":
    sys.stdout.write(format_man_page(build_parser()))
