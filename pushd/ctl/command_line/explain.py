"""The options of `pushctl token explain`."""

from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter, _SubParsersAction
from pathlib import Path

from pushd.ctl.connection_options import add_addresses_of_command
from pushd.ctl.tokens import TOPIC_LISTS, add_list, operation

ACTIONS = tuple(key for key in TOPIC_LISTS if key != "deny")
OPERATE = "operate"
_EXAMPLES = """examples:
  pushctl token explain --token-file phone.token --subscribe 'users/42/**'
  echo "$TOKEN" | pushctl token explain - --action history --topic news/sport
  pushctl token explain --publish chat/42        # what a peer without a token may do
  echo "$URL" | pushctl token explain --signed-url - --mount /push"""


def add_explain_command(subparsers: "_SubParsersAction[ArgumentParser]") -> None:
    """Add the command to the parsers of `pushctl token`."""
    command = subparsers.add_parser(
        "explain",
        help="ask the daemon why a token or a signed URL is accepted or refused",
        description="Ask the daemon which check of a token or a signed URL, or which entry of its grant, allows or "
        "refuses something. The credential of pushctl itself needs the right to operate explain; it precedes the "
        "command, or is in the environment.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.set_defaults(run="token_explain:explain")
    command.add_argument(
        "explained",
        metavar="TOKEN",
        nargs="?",
        help="the token to explain; - reads it from standard input, where the list of processes does not show it; "
        "without one, what a peer without a token may do is explained",
    )
    command.add_argument(
        "--token-file", dest="explained_file", type=Path, metavar="FILE", help="file with the token to explain"
    )
    command.add_argument(
        "--signed-url",
        metavar="URL",
        help="a signed URL to explain instead of a token; - reads it from standard input; without topics, what the "
        "request for it asks for is explained",
    )
    command.add_argument("--method", default="GET", help="method of the request for the URL (default: GET)")
    command.add_argument(
        "--mount", default="", metavar="PATH", help="the part of its path that a proxy removes, such as /push"
    )
    add_addresses_of_command(command)
    command.add_argument("--token", default=SUPPRESS, help="token of pushctl itself, as before the command")
    for action in ACTIONS:
        _add_question(command, action)
    _add_question(command, OPERATE)
    command.add_argument("--action", choices=(*ACTIONS, OPERATE), metavar="ACTION", help="an action, with --topic")
    command.add_argument("--topic", help="a topic for --action; for the action operate, an operation")
    command.add_argument("--json", action="store_true", help="print one line of JSON per action and topic")


def _add_question(command: ArgumentParser, action: str) -> None:
    parse, metavar = (operation, "OP,OP") if action == OPERATE else (str, "T,T")
    summary = "operations" if action == OPERATE else f"topics for the action {action}"
    add_list(command, action, parse, metavar, summary, f"explained_{action}")
