"""An issuer of tokens for tests: keys of every kind, valid tokens, and tokens with any bytes in any part."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from pushd.auth.claims import ClaimRules
from pushd.auth.jwt import FixedKeys, Issuer, JwtVerifier
from pushd.auth.verification_keys import (
    ASYMMETRIC,
    SYMMETRIC,
    KeySet,
    parse_key_set,
    parse_secret,
    with_synonyms,
)

NOW = 1_800_000_000
ISS = "https://login.example.org"
SECRET = b"a secret of an application, 32 bytes or more"
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
GRANT: dict[str, object] = {"subscribe": ["users/{sub}/**"], "publish": ["chat/*"], "tags": ["mobile"]}


def private_key(algorithm: str, name: str = "k1") -> Key:
    """Return the private key with an id for an algorithm; each name has another key."""
    return _make_key(algorithm, name)


@cache
def _make_key(algorithm: str, name: str) -> Key:
    if algorithm in SYMMETRIC:
        return OctKey.import_key(SECRET)
    if algorithm in CURVES:
        return ECKey.generate_key(CURVES[algorithm], {"kid": name})
    if algorithm in ("EdDSA", "Ed25519"):
        return OKPKey.generate_key("Ed25519", {"kid": name})
    return RSAKey.generate_key(2048, {"kid": name})


def jwks(*keys: Key) -> dict[str, Any]:
    """Return the JWK set of the public halves of some keys."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


def public_keys(algorithm: str, *names: str) -> KeySet:
    """Return the keys that verify tokens of an algorithm."""
    if algorithm in SYMMETRIC:
        return KeySet([parse_secret(SECRET, "k1")])
    return parse_key_set(jwks(*(private_key(algorithm, name) for name in names or ("k1",))))


def issuer(algorithm: str = "HS256", keys: Any = None, name: str = "shop", iss: str = ISS, **rules: Any) -> Issuer:
    """Return an issuer that accepts one algorithm."""
    merged: dict[str, Any] = {"audiences": frozenset(["pushd"]), "max_lifetime": 86400.0} | rules
    source = keys if hasattr(keys, "key_set") else FixedKeys(keys or public_keys(algorithm))
    return Issuer(name, iss, with_synonyms([algorithm]), source, ClaimRules(**merged))


def verifier(*issuers: Issuer, now: float = NOW) -> JwtVerifier:
    """Return a verifier at a fixed time."""
    return JwtVerifier(issuers or (issuer(),), lambda: now)


def claims(**changes: object) -> dict[str, object]:
    """Return valid claims with changes; a claim that is set to `...` is left out."""
    table = {
        "iss": ISS,
        "aud": "pushd",
        "sub": "42",
        "iat": NOW - 60,
        "exp": NOW + 3600,
        "jti": "t1",
        "pushd": GRANT,
    } | changes
    return {name: value for name, value in table.items() if value is not ...}


def header(algorithm: str = "HS256", **changes: object) -> dict[str, object]:
    """Return a valid header with changes; a member that is set to `...` is left out."""
    table: dict[str, object] = {"alg": algorithm, "typ": "JWT"} | changes
    if algorithm not in SYMMETRIC:
        table = {"kid": "k1"} | table
    return {name: value for name, value in table.items() if value is not ...}


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def encode(part: object) -> str:
    """Return a part of a token: of bytes, or as JSON."""
    return b64(part if isinstance(part, bytes) else json.dumps(part).encode("utf-8"))


def hmac_token(head: object = None, body: object = None, secret: bytes = SECRET) -> str:
    """Return a token signed with HS256, whatever its header says."""
    signed = f"{encode(head if head is not None else header())}.{encode(body if body is not None else claims())}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode('ascii'), hashlib.sha256))}"


def signed_token(algorithm: str, name: str = "k1", body: object = None, **members: object) -> str:
    """Return a token that another implementation of JWS signed."""
    payload = body if isinstance(body, bytes) else json.dumps(body or claims()).encode("utf-8")
    head = header(algorithm, **({} if algorithm in SYMMETRIC else {"kid": name}) | members)
    registry = jws.JWSRegistry(algorithms=[*SYMMETRIC, *ASYMMETRIC], strict_check_header=False)
    return jws.serialize_compact(head, payload, private_key(algorithm, name), registry=registry)
