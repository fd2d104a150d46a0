"""The options of `pushctl sign`."""

from argparse import ArgumentParser, ArgumentTypeError

from pushd.ctl.durations import duration


def add_sign_options(command: ArgumentParser) -> None:
    """Add the options of `pushctl sign` to its parser."""
    command.add_argument("signed_url", metavar="URL", help="an absolute URL, or a path with an optional query")
    command.add_argument(
        "--key", required=True, metavar="KID[=FILE]", help="id of the key, as in [auth.url_keys], and its file"
    )
    command.add_argument("--key-file", metavar="FILE", help="file of the key, if --key does not name it")
    command.add_argument(
        "--expires",
        type=duration,
        default=300,
        metavar="DURATION",
        help="until when it may be used first (default: 5m)",
    )
    command.add_argument(
        "--until",
        type=duration,
        metavar="DURATION",
        help="until when a client that has used it may reconnect (default: an hour after --expires)",
    )
    command.add_argument("--sub", type=_subject, help="subject: the user, device or service")
    command.add_argument("--method", choices=("GET", "HEAD", "POST", "PUT"), default="GET", help="(default: GET)")
    command.add_argument(
        "--mount", default="", metavar="PATH", help="path that a proxy removes before it passes requests on"
    )


def _subject(text: str) -> str:
    if not 0 < len(text.encode("utf-8", "surrogatepass")) <= 255:
        raise ArgumentTypeError("must have 1 to 255 bytes")
    return text
