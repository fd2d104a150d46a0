"""The command `pushctl token issue`: signs a JSON Web Token (RFC 7519), for tests and scripts."""

import json
import secrets
import time
import warnings
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pushd.ctl.durations import duration
from pushd.ctl.errors import CtlError
from pushd.ctl.tokens import add_grant_options, check_subject, grant_of

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from joserfc.jwk import Key

_SYMMETRIC = ("HS256", "HS384", "HS512")
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_BY_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_EDWARDS = ("EdDSA", "Ed25519")
ALGORITHMS = (*_SYMMETRIC, *_RSA, *_BY_CURVE.values(), *_EDWARDS)
_SECRET_BYTES = 32
_RSA_BITS = range(2048, 8193)
"""The least bytes of a secret, and the sizes of RSA keys, that the daemon accepts."""
_MAX_FILE_BYTES = 1 << 16
_EXAMPLES = """examples:
  openssl rand -hex 32 > shop.secret
  pushctl token issue --secret-file shop.secret --issuer https://shop.example.org --audience pushd \\
      --sub 42 --subscribe 'users/{sub}/**' --expires 1h"""


class SigningKey(NamedTuple):
    """A key, and the algorithms for it; the first one is the default."""

    key: "Key"
    algorithms: tuple[str, ...]


def issue(args: Namespace) -> int:
    """Print a signed token."""
    check_subject(args)
    signing = read_secret(args.secret_file) if args.secret_file else read_private_key(args.key_file)
    algorithm = args.algorithm or signing.algorithms[0]
    if algorithm not in signing.algorithms:
        raise CtlError(f"--algorithm must be one of {', '.join(signing.algorithms)} for this key (got {algorithm})")
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": args.kid} if args.kid else {})
    print(sign(header, claims_of(args, int(time.time())), signing.key))
    return 0


def claims_of(args: Namespace, now: int) -> dict[str, Any]:
    """Return the claims that the options describe. `now`: unix seconds."""
    audience = args.audience[0] if len(args.audience) == 1 else args.audience
    times = {"iat": now, "exp": now + args.expires, "jti": secrets.token_urlsafe(12)}
    grant = grant_of(args)
    grants = {"pushd": grant} if grant else {}
    return {"iss": args.issuer, "aud": audience, "sub": args.sub, **times, **grants, **args.claims}


def sign(header: dict[str, str], claims: dict[str, Any], key: "Key") -> str:
    """Return a token in compact serialization (RFC 7515, section 7.1)."""
    from joserfc import jws  # imported lazily: with cryptography it takes longer than the rest of the program

    payload = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the name EdDSA, which RFC 9864 deprecates and most verifiers require
        return jws.serialize_compact(header, payload, key, algorithms=[header["alg"]])


def read_secret(file: Path) -> SigningKey:
    """Return the key of a file with a shared secret. A line end at the end of the file does not count.

    :raises CtlError: when it cannot be read, or the daemon would not accept it.
    """
    from joserfc.jwk import OctKey

    secret = _read(file).rstrip(b"\r\n")
    if len(secret) < _SECRET_BYTES:
        raise CtlError(f"{file}: must have at least {_SECRET_BYTES} bytes (has {len(secret)})")
    if b"-----BEGIN " in secret or secret.lstrip().startswith((b"{", b"ssh-", b"ecdsa-")):
        raise CtlError(f"{file}: must be a secret, not a key for asymmetric algorithms; use --key-file")
    return SigningKey(OctKey.import_key(secret), _SYMMETRIC)


def read_private_key(file: Path) -> SigningKey:
    """Return the key of a PEM file.

    :raises CtlError: when it cannot be read, or contains no private key that the daemon would accept.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key: object = load_pem_private_key(_read(file), None)
    except TypeError:
        raise CtlError(f"{file}: the private key is encrypted; decrypt it first, with `openssl pkey`") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CtlError(f"{file}: must be a private key in PEM") from None
    signing = _signing_key(key)
    if signing is None:
        raise CtlError(
            f"{file}: must be an RSA key of {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits, an EC key with the curve P-256, "
            "P-384 or P-521, or an Ed25519 key"
        )
    return signing


def _signing_key(key: object) -> SigningKey | None:
    """Return a private key with its algorithms; None if the daemon would not accept it."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if isinstance(key, RSAPrivateKey) and key.key_size in _RSA_BITS:
        return SigningKey(RSAKey(key, key), _RSA)
    if isinstance(key, Ed25519PrivateKey):
        return SigningKey(OKPKey(key, key), _EDWARDS)
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name in _BY_CURVE:
        return SigningKey(ECKey(key, key), (_BY_CURVE[key.curve.name],))
    return None


def add_issue_command(subparsers: "_SubParsersAction[ArgumentParser]") -> None:
    """Add the command to the parsers of `pushctl token`."""
    command = subparsers.add_parser(
        "issue",
        help="sign a JSON Web Token",
        description="Sign a JSON Web Token, for tests and scripts, and print it.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.set_defaults(run="token_issue:issue")
    keys = command.add_mutually_exclusive_group(required=True)
    keys.add_argument("--secret-file", type=Path, metavar="FILE", help="file of the shared secret; HS256")
    keys.add_argument("--key-file", type=Path, metavar="PEM", help="file of the private key; RS256, ES256 … or EdDSA")
    command.add_argument("--algorithm", choices=ALGORITHMS, metavar="ALG", help="default: by the kind of the key")
    command.add_argument("--kid", help="id of the key (default: none)")
    command.add_argument("--issuer", required=True, metavar="ISS", help="claim iss, as the daemon is configured")
    command.add_argument("--audience", required=True, action="append", metavar="AUD", help="claim aud; may be repeated")
    add_grant_options(command)
    command.add_argument(
        "--expires",
        type=duration,
        default=3600,
        metavar="DURATION",
        help="such as 90s, 10m, 1h (default) or 7d; the daemon accepts at most max_lifetime, by default 24h",
    )
    command.add_argument(
        "--claims", type=_claims, default={}, metavar="JSON", help="an object of further claims, which take precedence"
    )


def _claims(text: str) -> dict[str, Any]:
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise ArgumentTypeError("must be a JSON object")
    return claims


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise CtlError(f"{file}: {error.strerror or error}") from error
