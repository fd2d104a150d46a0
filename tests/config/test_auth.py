"""The settings of authentication."""

import pytest

from pushd.config.auth import AuthSettings, build_url_keys, cookie_name, read_anonymous, read_url_keys
from pushd.config.loader import load
from pushd.config.reload import compare
from pushd.core.grant import NOTHING
from tests.auth.signed_url_vectors import SECRET


def test_defaults():
    settings = AuthSettings()
    assert (settings.tokens_file, settings.cookie) == ("", "__Host-pushd")
    assert settings.query_tokens is False
    assert (settings.anonymous, settings.is_enabled) == (NOTHING, False)


@pytest.mark.parametrize("name", ["", "__Host-pushd", "session", "a.b~c!"])
def test_cookie_name_is_accepted(name):
    assert cookie_name(name) == name


@pytest.mark.parametrize("name", ["a b", "a=b", "a;", "ü", "a\n", "x" * 129, 1, None, ["a"], '"a"'])
def test_other_cookie_name_is_refused(name):
    with pytest.raises(ValueError, match="is not the name of a cookie"):
        cookie_name(name)


def test_anonymous_peers_have_a_grant():
    grant = read_anonymous({"subscribe": ["public/**", "users/{sub}"]})
    assert grant.subject is None
    assert grant.allow["subscribe"] == grant.allow["history"] == ("public/**",)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (5, "auth.anonymous: must be a section, written [auth.anonymous]"),
        ([{}], "auth.anonymous: must be a section, written [auth.anonymous]"),
        ({"subscribes": []}, "auth.anonymous: unknown key 'subscribes' (accepted: "),
        ({"publish": "a"}, "auth.anonymous: publish: 'a' is not a list of strings"),
        ({"deny": ["{sub}"]}, "auth.anonymous: deny: {sub} is used"),
    ],
)
def test_invalid_anonymous_grant_is_refused(table, message):
    with pytest.raises(ValueError) as error:
        read_anonymous(table)
    assert str(error.value).startswith(message)


def test_keys_of_signed_urls_have_an_id_and_a_file(tmp_path):
    one, other = tmp_path / "one.key", tmp_path / "other.key"
    one.write_bytes(SECRET + b"\n")
    other.write_bytes(SECRET * 2)
    keys = read_url_keys({"web": str(one), "web-2_A": str(other)})
    assert keys == (("web", str(one)), ("web-2_A", str(other)))
    assert build_url_keys(keys) == {"web": SECRET, "web-2_A": SECRET * 2}
    assert (read_url_keys({}), build_url_keys(())) == ((), {})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (5, "auth.url_keys: must be a section, written [auth.url_keys]"),
        ({"": "a.key"}, "auth.url_keys.'': id of a key must have 1 to 64 letters, digits, - and _"),
        ({"a b": "a.key"}, "auth.url_keys.'a b': id of a key must have"),
        ({"é": "a.key"}, "auth.url_keys.'é': id of a key must have"),
        ({"a" * 65: "a.key"}, f"auth.url_keys.'{'a' * 65}': id of a key must have"),
        ({"web": 5}, "auth.url_keys.web: 5 is not a non-blank string"),
        ({"web": ["a.key"]}, "auth.url_keys.web: ['a.key'] is not a non-blank string"),
        ({"web": ""}, "auth.url_keys.web: '' is not a non-blank string"),
    ],
)
def test_invalid_keys_of_signed_urls_are_refused(table, message):
    with pytest.raises(ValueError) as error:
        read_url_keys(table)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"", "must have at least 32 bytes (has 0)"),
        (SECRET[1:] + b"\r\n", "must have at least 32 bytes (has 31)"),
        (b"-----BEGIN PRIVATE KEY-----\n" + SECRET, "must be a secret, not a key for asymmetric algorithms"),
        (SECRET * 5000, "must not exceed 65536 bytes"),
    ],
)
def test_unusable_secret_of_signed_urls_is_refused(tmp_path, content, message):
    file = tmp_path / "web.key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError) as error:
        build_url_keys((("web", str(file)),))
    assert str(error.value) == f"auth.url_keys.web: {file}: {message}"


@pytest.mark.parametrize("text", ["[auth.url_keys]\n", '[auth.url_keys]\nweb = "web.key"\n'])
def test_section_of_url_keys_enables_authentication_and_is_reloaded(tmp_path, text):
    file = tmp_path / "pushd.toml"
    file.write_text("[auth.anonymous]\n")
    before = load(file, {}, {})
    file.write_text(text)
    loaded = load(file, {}, {})
    assert loaded.auth.is_enabled
    change = compare(before, loaded)
    assert change.config.auth.url_keys == loaded.auth.url_keys
    assert change.applied == (("auth.url_keys",) if loaded.auth.url_keys else ())
