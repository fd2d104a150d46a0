"""The settings of authentication."""

import pytest

from pushd.config.auth import AuthSettings, cookie_name, read_anonymous
from pushd.core.grant import NOTHING


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
        (5, "auth.anonymous must be a section, written [auth.anonymous]"),
        ([{}], "auth.anonymous must be a section, written [auth.anonymous]"),
        ({"subscribes": []}, "auth.anonymous: unknown key 'subscribes' (accepted: "),
        ({"publish": "a"}, "auth.anonymous: publish: 'a' is not a list of strings"),
        ({"deny": ["{sub}"]}, "auth.anonymous: deny: {sub} is used"),
    ],
)
def test_invalid_anonymous_grant_is_refused(table, message):
    with pytest.raises(ValueError) as error:
        read_anonymous(table)
    assert str(error.value).startswith(message)
