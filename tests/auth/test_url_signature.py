"""The signature of a URL: the canonical form, the published vectors, and what can be signed."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.auth.signed_urls import verify
from pushd.auth.url_signature import canonical_form, check_secret, encode_query, parse_query, signature_of
from pushd.http.request import Request
from tests.auth.signed_url_vectors import KEY_ID, SECRET, accepted, document

VECTORS = Path(__file__).parents[2] / "docs/signed-urls.json"
CONTENT = json.loads(VECTORS.read_text(encoding="utf-8"))


def request_of(method: str, target: str) -> Request:
    """Return a request as the daemon parses it."""
    connection: Any = None
    return Request(connection, method.encode(), target.encode(), {})


def test_published_vectors_are_those_of_the_script() -> None:
    assert VECTORS.read_text(encoding="utf-8") == document()
    assert len({vector["about"] for vector in CONTENT["accepted"]}) == len(CONTENT["accepted"]) > 30


@pytest.mark.parametrize("vector", CONTENT["accepted"], ids=lambda vector: vector["about"])
def test_canonical_form_and_signature_of_each_vector(vector: dict[str, str]) -> None:
    request = request_of(vector["method"], vector["target"])
    method = {"HEAD": b"GET", "PUT": b"POST"}.get(vector["method"], vector["method"].encode())
    path = b"/" + b"/".join(request.postpath)
    form = canonical_form(method, path, request.args)
    assert form.decode() == vector["canonical"]
    assert signature_of(form, SECRET).decode() == vector["sig"]
    assert parse_query(request.query)[b"sig"] == [vector["sig"].encode()]


def test_equivalent_urls_have_the_same_signature_and_others_have_not() -> None:
    by_form: dict[str, set[str]] = {}
    for vector in accepted():
        by_form.setdefault(vector["canonical"], set()).add(vector["sig"])
    assert all(len(signatures) == 1 for signatures in by_form.values())
    assert len({*map(str, by_form.values())}) == len(by_form)


@given(
    st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=4),
    st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=4),
    st.binary(max_size=6),
    st.binary(max_size=6),
)
def test_requests_with_the_same_form_are_the_same(
    one: list[tuple[bytes, bytes]], other: list[tuple[bytes, bytes]], path: bytes, other_path: bytes
) -> None:
    forms = [
        canonical_form(b"GET", b"/" + each, _as_parameters(pairs)) for each, pairs in ((path, one), (other_path, other))
    ]
    is_same = path == other_path and sorted(one) == sorted(other)
    assert (forms[0] == forms[1]) == is_same
    encoded = encode_query((name, [value]) for name, value in one)
    assert sorted(one) == sorted((name, value) for name, values in parse_query(encoded).items() for value in values)


def _as_parameters(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    parameters: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        parameters.setdefault(name, []).append(value)
    return parameters


def test_secret_has_at_least_32_bytes_and_line_ends_do_not_count() -> None:
    assert check_secret(SECRET + b"\r\n") == SECRET
    for content in (b"", SECRET[1:], SECRET[1:] + b"\n"):
        with pytest.raises(ValueError, match="must have at least 32 bytes"):
            check_secret(content)
    with pytest.raises(ValueError, match="must be a secret"):
        check_secret(b"-----BEGIN PUBLIC KEY-----" + SECRET)


def test_function_in_the_document_signs() -> None:
    document = (VECTORS.parent / "authentication.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?def sign_url.*?)```", document, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)
    for method in ("GET", "POST"):
        url = names["sign_url"]("/sse/caf\u00e9/*", SECRET, KEY_ID, method, sub="J\u00fcrgen B.", since="last:10")
        path, _, query = url.partition("?")
        signed = verify({KEY_ID: SECRET}, method.encode(), unquote_to_bytes(path), parse_query(query.encode()))
        assert signed.identity.subject == "J\u00fcrgen B."
