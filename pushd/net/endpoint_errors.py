"""Why an endpoint cannot be used, as phrases for the operator."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from OpenSSL import SSL, crypto

_UNEXPECTED = re.compile(r"unexpected keyword argument '([^']*)'")
_UNKNOWN = re.compile(r"has no attribute '([^']*)'")
_MISSING = re.compile(r"missing [0-9]+ required .*argument")


class UnusableFiles(ValueError):
    """An endpoint string names files that cannot be used. The text is a phrase for the operator."""


def reason_of(error: Exception) -> str:
    """Return why Twisted, OpenSSL or the system refused an endpoint."""
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, (SSL.Error, crypto.Error)):
        return f"OpenSSL: {'; '.join(_openssl_reasons(error)) or 'unknown error'}"
    text = " ".join(str(error).split())
    if isinstance(error, TypeError):
        if unexpected := _UNEXPECTED.search(text):
            return f"unknown argument {unexpected[1]!r}"
        if _MISSING.search(text):
            return "an argument is missing"
    if isinstance(error, AttributeError) and (unknown := _UNKNOWN.search(text)):
        return f"unknown value {unknown[1]!r}"
    if text.startswith("invalid literal for int()"):
        return f"{text.rpartition(': ')[2]} is not a number"
    return text or type(error).__name__


def check_tls_files(named: Mapping[str, str]) -> None:
    """Check the files of an ``ssl:`` endpoint. OpenSSL names no file, and would ask for a passphrase.

    :param named: its arguments by name.
    :raises OSError: when one cannot be read.
    :raises ValueError: when one has another content.
    """
    key_file = named.get("privateKey", "server.pem")
    certificate_file = named.get("certKey", key_file)
    content = Path(key_file).read_bytes()
    if b"ENCRYPTED" in content:
        raise ValueError(f"{key_file}: the private key must not have a passphrase")
    context = SSL.Context(SSL.TLS_METHOD)
    try:
        context.use_privatekey_file(key_file)
    except SSL.Error as error:
        raise ValueError(f"{key_file}: contains no private key in PEM") from error
    Path(certificate_file).read_bytes()
    try:
        context.use_certificate_file(certificate_file)
    except SSL.Error as error:
        raise ValueError(f"{certificate_file}: contains no certificate in PEM") from error
    try:
        context.check_privatekey()
    except SSL.Error as error:
        raise ValueError(f"the certificate in {certificate_file} is not for the private key in {key_file}") from error


def _openssl_reasons(error: Exception) -> list[str]:
    """Return the reasons in an error, whose argument is a list of library, function and reason."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return [str(entry[-1]) for entry in entries if isinstance(entry, tuple) and entry]
