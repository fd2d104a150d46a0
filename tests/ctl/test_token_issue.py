"""`pushctl token issue`: what it signs is what the daemon verifies."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    SECP256R1,
    SECP384R1,
    SECP521R1,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from pushd.auth.claims import ClaimRules
from pushd.auth.compact_token import parse_token
from pushd.auth.jwt import FixedKeys, Issuer, JwtVerifier
from pushd.auth.url_signature import SECRET_BYTES
from pushd.auth.verification_keys import (
    ASYMMETRIC,
    RSA_BITS,
    SYMMETRIC,
    KeySet,
    parse_pem,
    parse_secret,
    with_synonyms,
)
from pushd.core.identity import Identity
from pushd.ctl import token_issue
from pushd.ctl.command_line import build_parser
from pushd.ctl.main import main
from pushd.ctl.token_issue import ALGORITHMS
from tests.auth.test_authenticator import now

REQUIRED = ["--issuer", "https://shop", "--audience", "pushd", "--sub", "42"]
RSA: Any = generate_rsa(65537, 2048)
KEYS: dict[str, Any] = {
    "ES256": generate_private_key(SECP256R1()),
    "ES384": generate_private_key(SECP384R1()),
    "ES512": generate_private_key(SECP521R1()),
    "RS256": RSA,
    "EdDSA": Ed25519PrivateKey.generate(),
}
"""A private key for each default."""


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def public_keys(key: Any) -> KeySet:
    return KeySet(parse_pem(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "k1"))


def issued(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return an issued token."""
    assert main(["token", "issue", *REQUIRED, *arguments]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    return out.removesuffix("\n")


def verified(token: str, keys: KeySet, algorithm: str) -> Identity:
    rules = ClaimRules(frozenset(["pushd"]), 86400)
    issuer = Issuer("shop", "https://shop", with_synonyms([algorithm]), FixedKeys(keys), rules)
    identity = now(JwtVerifier([issuer], time.time).verify(token))
    assert identity is not None
    return identity


def secret_file(folder: Path) -> Path:
    file = folder / "k1.secret"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    return file


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_accepted(algorithm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--algorithm", algorithm, "--kid", "k1", "--subscribe", "users/{sub}/**", "--tags", "mobile"]
    if algorithm in SYMMETRIC:
        file = secret_file(tmp_path)
        token, keys = (
            issued(capsys, "--secret-file", str(file), *options),
            KeySet([parse_secret(file.read_bytes(), "k1")]),
        )
    else:
        key = KEYS.get(algorithm, KEYS["EdDSA"] if algorithm == "Ed25519" else RSA)
        file = tmp_path / "key.pem"
        file.write_bytes(private_pem(key))
        token, keys = issued(capsys, "--key-file", str(file), *options), public_keys(key)
    identity = verified(token, keys, algorithm)
    assert (identity.subject, identity.tags) == ("42", ("mobile",))
    assert identity.grant.may("subscribe", "users/42/**")
    parsed = parse_token(token)
    assert (parsed.algorithm, parsed.key_id) == (algorithm, "k1")


def test_limits_and_algorithms_are_those_of_the_daemon() -> None:
    assert set(ALGORITHMS) == {*SYMMETRIC, *ASYMMETRIC}
    assert (token_issue._SECRET_BYTES, token_issue._RSA_BITS) == (SECRET_BYTES, RSA_BITS)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("algorithm", KEYS)
def test_algorithm_follows_from_the_key(algorithm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(private_pem(KEYS[algorithm]))
    token = issued(capsys, "--key-file", str(file))
    assert parse_token(token).algorithm == algorithm
    assert parse_token(token).key_id is None
    assert verified(token, public_keys(KEYS[algorithm]), algorithm).subject == "42"


def test_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = ["--secret-file", str(secret_file(tmp_path))]
    claims = parse_token(issued(capsys, *key, "--expires", "10m", "--audience", "other")).claims
    assert {"iss", "aud", "sub", "iat", "exp", "jti"} == set(claims)
    assert (claims["aud"], claims["sub"]) == (["pushd", "other"], "42")
    assert claims["exp"] - claims["iat"] == 600  # type: ignore[operator]
    given = ["--publish", "a", "--publish", "b", "--operate", "kick", "--claims", json.dumps({"exp": 5, "x": "\u00fc"})]
    claims = parse_token(issued(capsys, *key, *given)).claims
    assert (claims["exp"], claims["x"]) == (5, "\u00fc")
    assert claims["pushd"] == {"publish": ["a", "b"], "operate": ["kick"]}
    assert len({parse_token(issued(capsys, *key)).claims["jti"] for _ in range(2)}) == 2


def bad_files(folder: Path) -> dict[str, bytes]:
    return {
        "short.secret": b"x" * 31,
        "pem.secret": private_pem(RSA),
        "text.pem": b"x",
        "public.pem": RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "small.pem": private_pem(generate_rsa(65537, 1024)),
        "curve.pem": private_pem(generate_private_key(SECP256K1())),
        "ed448.pem": private_pem(Ed448PrivateKey.generate()),
        "locked.pem": KEYS["ES256"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
    }


def test_bad_keys_are_refused_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = bad_files(tmp_path)
    for name, content in files.items():
        file = tmp_path / name
        file.write_bytes(content)
        option = "--secret-file" if name.endswith(".secret") else "--key-file"
        assert main(["token", "issue", *REQUIRED, option, str(file)]) == 1
        out, error = capsys.readouterr()
        assert (out, len(error.splitlines())) == ("", 1)
        assert error.startswith(f"pushctl: {file}: ")
    assert main(["token", "issue", *REQUIRED, "--key-file", str(tmp_path / "none")]) == 1
    assert len(files) > 5


def test_algorithm_must_be_one_of_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = ["--secret-file", str(secret_file(tmp_path)), "--algorithm", "RS256"]
    assert main(["token", "issue", *REQUIRED, *key]) == 1
    assert "--algorithm must be one of HS256, HS384, HS512 for this key" in capsys.readouterr().err


def test_subject_must_replace_the_placeholder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = ["--secret-file", str(secret_file(tmp_path)), "--sub", "a/b", "--subscribe", "{sub}"]
    assert main(["token", "issue", *REQUIRED, *key]) == 1
    assert "cannot replace {sub}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--secret-file", "a", "--key-file", "b"],
        ["--secret-file", "a", "--algorithm", "none"],
        ["--secret-file", "a", "--expires", "0"],
        ["--secret-file", "a", "--expires", "1w"],
        ["--secret-file", "a", "--expires", "-1h"],
        ["--secret-file", "a", "--claims", "[]"],
        ["--secret-file", "a", "--claims", "{"],
        ["--secret-file", "a", "--claims", "[" * 100_000],
        ["--secret-file", "a", "--publish", "a*"],
    ],
)
def test_wrong_usage_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as status:
        main(["token", "issue", *REQUIRED, *arguments])
    assert status.value.code == 2


@pytest.mark.parametrize(("text", "seconds"), [("5", 5), ("90s", 90), ("10m", 600), ("1h", 3600), ("7d", 604800)])
def test_durations(text: str, seconds: int) -> None:
    args = build_parser().parse_args(["token", "issue", *REQUIRED, "--secret-file", "a", "--expires", text])
    assert args.expires == seconds
