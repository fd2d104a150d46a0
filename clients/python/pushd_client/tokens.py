"""JSON Web Tokens for the users of an application (RFC 7519), signed with HS256."""

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from .key_material import Secret, read_hmac_secret


def issue_token(
    *,
    secret: Secret,
    sub: str | int,
    aud: str | Sequence[str],
    iss: str,
    grant: Mapping[str, Any] | None = None,
    ttl: float | timedelta = 3600,
    kid: str | None = None,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """Return a signed token. The section ``[auth.issuer.NAME]`` of the daemon has the same secret, `iss` and `aud`.

    :param secret: at least 32 bytes.
    :param sub: the subject, such as the primary key of a user.
    :param aud: the audience, as the daemon is configured, or several.
    :param iss: the issuer, as the daemon is configured.
    :param grant: what the token allows, such as ``{"subscribe": ["users/{sub}/**"]}``; None: nothing.
    :param ttl: the seconds until it expires; the daemon accepts at most its ``max_lifetime``, by default 24 hours.
    :param kid: the id of the secret: the name of its file at the daemon, without directory and extension; None: no id.
    :param claims: further claims, which take precedence.
    :raises ValueError: when the daemon would not accept the secret or the times. The text does not quote the secret.
    :raises OSError: when the file of the secret cannot be read.
    """
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if seconds < 1:
        raise ValueError(f"ttl must be at least one second (got {seconds:g})")
    if not str(sub):
        raise ValueError("sub must not be empty")
    now = int(time.time())
    audience = aud if isinstance(aud, str) else list(aud)
    payload: dict[str, Any] = {"iss": iss, "aud": audience, "sub": str(sub), "iat": now, "exp": now + int(seconds)}
    payload["jti"] = secrets.token_urlsafe(12)
    if grant is not None:
        payload["pushd"] = dict(grant)
    header = {"alg": "HS256", "typ": "JWT", **({} if kid is None else {"kid": kid})}
    return _signed(header, {**payload, **(claims or {})}, read_hmac_secret(secret))


def _signed(header: Mapping[str, str], claims: Mapping[str, Any], secret: bytes) -> str:
    """Return a token in compact serialization (RFC 7515, section 7.1)."""
    text = f"{_segment(header)}.{_segment(claims)}"
    digest = hmac.new(secret, text.encode("ascii"), hashlib.sha256).digest()
    return f"{text}.{_encoded(digest)}"


def _segment(value: object) -> str:
    return _encoded(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8"))


def _encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
