"""The settings of issuers: parsing, errors, and the keys of their files."""

import json
import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import pytest_twisted
from joserfc.jwk import RSAKey

from pushd.auth.jwt import JwtVerifier
from pushd.config.issuers import IssuerSettings, build_issuers, read_issuers
from tests.auth.jwt_issuer import ISS, NOW, SECRET, claims, header, hmac_token, jwks, private_key, signed_token

URL = "https://login.example.org/jwks.json"
BASE: dict[str, object] = {"issuer": ISS, "audience": "pushd", "algorithms": ["RS256"], "jwks_url": URL}


def table(**changes: object) -> dict[str, object]:
    return {name: value for name, value in (BASE | changes).items() if value is not ...}


def with_file(file: Path, content: bytes, key: str = "keys_file", algorithm: str = "RS256") -> dict[str, object]:
    file.write_bytes(content)
    value: object = [str(file)] if key == "secret_files" else str(file)
    return table(jwks_url=..., algorithms=[algorithm], **{key: value})


def build(row: dict[str, object]) -> JwtVerifier:
    def open_jwks(issuer: str, url: str):
        raise AssertionError("no URL is configured")

    return JwtVerifier(build_issuers(read_issuers({"shop": row}), open_jwks), lambda: NOW)


def test_all_keys_are_read():
    [issuer] = read_issuers(
        {"shop": table(audience=["a", "b"], claims_map={"subscribe": "channels"}, max_lifetime="1h", allow_http=True)}
    )
    assert (issuer.name, issuer.issuer, issuer.audience) == ("shop", ISS, ("a", "b"))
    assert (issuer.algorithms, issuer.jwks_url) == (("RS256",), URL)
    assert (issuer.claims_map, issuer.max_lifetime, issuer.allow_http) == ((("subscribe", "channels"),), 3600, True)
    [default] = read_issuers({"shop": table()})
    assert (default.max_lifetime, default.claims_map, default.allow_http) == (86400, (), False)
    assert read_issuers({}) == ()


@pytest.mark.parametrize(
    "url", ["http://localhost:8080/k", "http://127.0.0.9/k", "http://[::1]:1/k", "https://10.0.0.1/k"]
)
def test_urls_that_are_accepted(url):
    assert read_issuers({"shop": table(jwks_url=url)})[0].jwks_url == url


ERRORS = [
    ({"issuer": ...}, "auth.issuer.shop.issuer: is missing"),
    ({"issuer": " "}, "not a non-blank string"),
    ({"audience": ...}, "auth.issuer.shop.audience: is missing"),
    ({"audience": []}, "neither a string nor a list"),
    ({"algorithms": ...}, "auth.issuer.shop.algorithms: is missing"),
    ({"algorithms": []}, "at least one"),
    ({"algorithms": ["none"]}, "must name at least one"),
    ({"algorithms": ["RS265"]}, "did you mean RS256?"),
    ({"algorithms": ["HS256", "RS256"]}, "must be either all HS256"),
    ({"algorithms": ["HS256"]}, "auth.issuer.shop.jwks_url: algorithm HS256 needs secret_files instead"),
    ({"jwks_url": ..., "secret_files": ["s"]}, "algorithm RS256 needs jwks_url or keys_file instead"),
    ({"jwks_url": ...}, "must have exactly one of jwks_url, keys_file, secret_files"),
    ({"keys_file": "k"}, "must have exactly one of jwks_url, keys_file, secret_files"),
    ({"algorithms": ["HS256"], "jwks_url": ..., "secret_files": ["a", "b", "c"]}, "must name one or two files"),
    ({"jwks_url": "http://login.example.org/k"}, "must begin with https://"),
    ({"jwks_url": "https://169.254.169.254/k"}, "is refused: 169.254.169.254 is a link-local address"),
    ({"jwks_url": "http://localhost.evil.example/k"}, "must begin with https://"),
    ({"jwks_url": "http://127.0.0.1.evil.example/k"}, "must begin with https://"),
    ({"jwks_url": "ftp://localhost/k"}, "is not a URL"),
    ({"jwks_url": "https:///k"}, "is not a URL"),
    ({"jwks_url": "https://a b/k"}, "is not a URL"),
    ({"jwks_url": "https://a:99999/k"}, "is not a URL"),
    ({"jwks_url": "https://user:pw@a/k"}, "must not contain a user name or a password"),
    ({"jwks_uri": URL}, "unknown key auth.issuer.shop.jwks_uri, did you mean auth.issuer.shop.jwks_url?"),
    ({"claims_map": {"subscribed": "a"}}, "unknown key subscribed"),
    ({"claims_map": "a"}, "is not a table"),
    ({"max_lifetime": 0}, "too small"),
]


@pytest.mark.parametrize(("changes", "error"), ERRORS, ids=range(len(ERRORS)))
def test_errors_are_one_sentence(changes, error):
    with pytest.raises(ValueError) as raised:
        read_issuers({"shop": table(**changes)})
    text = str(raised.value)
    assert error in text and text.startswith(("auth.issuer.shop", "unknown key auth.issuer.shop"))
    assert "\n" not in text and "pw" not in text


@pytest.mark.parametrize(
    ("tables", "error"),
    [
        (7, "auth.issuer: must be a table"),
        ({"shop": 7}, "must be a section"),
        ({"a b": table()}, "name must have 1 to 64"),
        ({"a": table(), "b": table()}, "auth.issuer.b.issuer: must differ from auth.issuer.a.issuer"),
    ],
)
def test_errors_of_sections(tables, error):
    with pytest.raises(ValueError, match=error):
        read_issuers(tables)


def small_key() -> bytes:
    """Return a public key of 1,024 bits as a JWK set."""
    return json.dumps(jwks(RSAKey.generate_key(1024))).encode("utf-8")


def pem(*, private: bool = False) -> bytes:
    key = private_key("RS256")
    assert isinstance(key, RSAKey)
    return key.as_pem(private=private)


BAD_FILES = [
    ("keys_file", b"", "contains no public key"),
    ("keys_file", b"{", "is not JSON"),
    ("keys_file", b"{}", "is not a JWK set"),
    ("keys_file", b'{"keys":[]}', "contains no key for the algorithms RS256"),
    ("keys_file", b'{"keys":[{"kty":"oct","k":"AAAA"}]}', "secrets are configured in secret_files"),
    ("keys_file", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "malformed public key"),
    ("keys_file", b"x" * 70_000, "must not exceed 65536 bytes"),
    ("secret_files", b"x" * 31 + b"\n", "must have at least 32 bytes \\(has 31\\)"),
    ("secret_files", b'{"kty":"RSA","n":"0000000000000000000"}', "not a key for asymmetric"),
    ("secret_files", b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAA", "not a key for asymmetric"),
]


@pytest.mark.parametrize(("key", "content", "error"), BAD_FILES, ids=range(len(BAD_FILES)))
def test_bad_files_name_the_setting(tmp_path, key, content, error):
    row = with_file(tmp_path / "k", content, key, "HS256" if key == "secret_files" else "RS256")
    with pytest.raises(ValueError, match=f"^auth.issuer.shop.{key}: .*{error}"):
        build(row)


def test_keys_that_are_refused_in_files(tmp_path):
    with pytest.raises(ValueError, match="must have 2048 to 8192 bits"):
        build(with_file(tmp_path / "k", small_key()))
    with pytest.raises(ValueError, match="contains a private key"):
        build(with_file(tmp_path / "k", pem(private=True)))
    with pytest.raises(ValueError, match="is private"):
        private = {"keys": [private_key("RS256").as_dict(private=True)]}
        build(with_file(tmp_path / "k", json.dumps(private).encode("utf-8")))
    with pytest.raises(ValueError, match="not a key for asymmetric"):
        build(with_file(tmp_path / "k", pem(), "secret_files", "HS256"))
    with pytest.raises(ValueError, match="No such file"):
        build(table(jwks_url=..., keys_file=str(tmp_path / "missing")))


@pytest_twisted.ensureDeferred
async def test_keys_of_files(tmp_path):
    token = signed_token("RS256", "k1")
    assert await build(with_file(tmp_path / "k1.pem", pem())).verify(token)
    key_set = json.dumps(jwks(private_key("RS256"))).encode("utf-8")
    assert await build(with_file(tmp_path / "keys.json", key_set)).verify(token)
    secret = with_file(tmp_path / "k2.secret", SECRET + b"\r\n", "secret_files", "HS256")
    assert await build(secret).verify(hmac_token())
    assert await build(secret).verify(hmac_token(header(kid="k2"), claims()))


@pytest_twisted.ensureDeferred
async def test_files_are_read_again_when_issuers_are_built_again(tmp_path):
    row = with_file(tmp_path / "s", b"first secret of the application, long", "secret_files", "HS256")
    verdict = await build(row).examine(hmac_token())
    assert verdict is not None and verdict.refusal is not None
    (tmp_path / "s").write_bytes(SECRET)
    assert await build(row).verify(hmac_token())


ROOT = Path(__file__).parent.parent.parent
ROWS = [row for row in fields(IssuerSettings) if row.metadata]


def test_keys_are_documented():
    manual = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    section = manual.partition("\nA section `[auth.issuer.NAME]`")[2].partition("\n### ")[0]
    defaults = {row.name: "must be given" for row in ROWS if row.default is MISSING}
    defaults |= {row.name: f"`{json.dumps(row.metadata['default'])}`" for row in ROWS if row.name not in defaults}
    assert re.findall(r"(?m)^\| (`[a-z_]+` \| .*) \|$", section) == [
        f"`{row.name}` | {defaults[row.name]} | {row.metadata['unit']} | {row.metadata['description']}" for row in ROWS
    ]


def test_keys_are_in_the_sample_file():
    sample = (ROOT / "etc/pushd.toml").read_text(encoding="utf-8")
    section = sample.partition("\n#[auth.issuer.shop]\n")[2].partition("\n[limits]\n")[0]
    assert re.findall(r"(?m)^# (.+)\n#([a-z_]+) = ", section) == [
        (row.metadata["description"], row.name) for row in ROWS
    ]
    table = tomllib.loads(re.sub(r"(?m)^#(?! )", "", section))
    [settings] = read_issuers({"shop": table})
    assert all(
        table[row.name] == row.metadata["default"]
        for row in ROWS
        if "default" in row.metadata
        if row.name != "jwks_url"
    )
    assert settings.jwks_url
