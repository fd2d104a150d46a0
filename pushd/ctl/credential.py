"""The token by which pushctl authenticates itself: from an option, a file or the environment."""

import os
import re
from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pushd.ctl.errors import CtlError

VARIABLE, FILE_VARIABLE = "PUSHD_TOKEN", "PUSHD_TOKEN_FILE"
"""The environment variables of a token, and of a file that contains one."""
_MAX_FILE_BYTES = 1 << 16
_TOKEN = re.compile(r"[!-~]+")
"""Visible ASCII: other characters could end a header or a line."""


class Credential:
    """A token, or a file that contains one, or nothing.

    The file is read again when the daemon refuses the token that it contained, or that expires soon.

    No error contains the token or a part of it.
    """

    def __init__(self, token: str | None = None, file: Path | None = None) -> None:
        """
        :raises CtlError: when the token has other characters than visible ASCII.
        """
        self._text = None if token is None else check_token(token, "token")
        self._file = file

    def token(self) -> str | None:
        """Return the token; None if there is none.

        :raises CtlError: when the file cannot be read, or contains no token.
        """
        return self._text if self._file is None else read_token(self._file)

    def headers(self) -> dict[str, str]:
        """Return the request header with the token (RFC 6750, section 2.1), if there is one. Raises as `token`."""
        token = self.token()
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def source(self) -> str | Callable[[], str] | None:
        """Return the token for a client: where it is in a file, a function that reads it."""
        return self._text if self._file is None else partial(read_token, self._file)


def choose_credential(args: Namespace, environ: Mapping[str, str] = os.environ) -> Credential:
    """Return the credential of ``--token``, else ``--token-file``, else the environment.

    :raises CtlError: when the token has other characters than visible ASCII.
    """
    if args.token is not None:
        return Credential(args.token)
    if args.token_file is not None:
        return Credential(file=args.token_file)
    if environ.get(VARIABLE):
        return Credential(environ[VARIABLE])
    return Credential(file=Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)


def read_token(file: Path) -> str:
    """Return the token in a file. White space around it is ignored.

    :raises CtlError: when the file cannot be read, or contains no token.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CtlError(f"{file}: {error.strerror or error}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise CtlError(f"{file}: token file must not exceed {_MAX_FILE_BYTES} bytes")
    return check_token(content.decode("latin-1").strip(), f"{file}: token")


def check_token(token: str, name: str) -> str:
    """Return a token that has only visible ASCII characters.

    :param name: what the error calls it.
    :raises CtlError: when it is empty or has others.
    """
    if not _TOKEN.fullmatch(token):
        raise CtlError(f"{name} must be visible ASCII characters without spaces, and must not be empty")
    return token
