"""`pushctl sign`: a signed URL, made with a key of the section [auth.url_keys] of the daemon."""

import re
import time
from argparse import Namespace
from pathlib import Path

from pushd.client import url_signature
from pushd.client.key_material import read_hmac_secret
from pushd.ctl.errors import EXIT_USAGE, CtlError

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NotSignable(CtlError):
    """The arguments do not make a signed URL."""

    status = EXIT_USAGE


def sign_url(args: Namespace) -> int:
    """Print a signed URL."""
    key_id, file = _key(args)
    now = int(time.time())
    until = None if args.until is None else now + args.until
    if until is not None and until < now + args.expires:
        raise NotSignable("--until must not be shorter than --expires")
    if until is not None and args.method in ("POST", "PUT"):
        raise NotSignable("--until is for GET and HEAD: a client that publishes does not reconnect")
    secret = _read_secret(file)
    try:
        url = url_signature.sign_url(
            args.signed_url,
            (key_id, secret),
            exp=now + args.expires,
            until=until,
            sub=args.sub,
            method=args.method,
            mount=args.mount,
        )
    except ValueError as error:
        raise NotSignable(str(error)) from None
    print(url)
    return 0


def _key(args: Namespace) -> tuple[str, str]:
    key_id, equals, file = args.key.partition("=")
    if not _KEY_ID.fullmatch(key_id):
        raise NotSignable("--key must be the id of a key: 1 to 64 letters, digits, - and _")
    if bool(equals) == (args.key_file is not None):
        raise NotSignable("the file of the key must be given once: --key KID=FILE, or --key KID --key-file FILE")
    return key_id, file if equals else args.key_file


def _read_secret(file: str) -> bytes:
    """Return the secret in a file, which the daemon accepts."""
    try:
        return read_hmac_secret(Path(file))
    except OSError as error:
        raise CtlError(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise CtlError(f"{file}: {error}") from None
