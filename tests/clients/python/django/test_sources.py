"""The template tag: a signed URL that begins where the page was rendered."""

import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, Template
from django.test import RequestFactory, override_settings
from pushd_client.django import cursor, source_url
from pushd_client.pytest_plugin import PushdDaemon

from tests.clients.python.secured_daemon import EventSource, SecuredDaemon

ALICE = User(pk=42, username="alice")


def render(source: str, **context: Any) -> str:
    return Template("{% load pushd %}" + source).render(Context(context))


@pytest.fixture
def daemon(secured_daemon: SecuredDaemon, pushd_settings: dict[str, Any]) -> PushdDaemon:
    """The daemon that the settings name."""
    return secured_daemon.daemon


def test_page_receives_what_is_published_after_it_was_rendered(daemon: PushdDaemon):
    daemon.client.publish("users/42/inbox", "before")
    url = render('{% pushd_source "users/{sub}/inbox" %}', user=ALICE)
    daemon.client.publish("users/42/inbox", {"text": "between"})
    with EventSource(url) as events:
        assert events.response.status == 200
        assert events.data() == {"text": "between"}
        daemon.client.publish("users/42/inbox", {"text": "live"})
        assert events.data() == {"text": "live"}


def test_view_may_take_the_cursor_before_it_reads_its_data(daemon: PushdDaemon):
    since = cursor()
    daemon.client.publish("orders", 1)
    with EventSource(render('{% pushd_source "orders" since=since %}', since=since)) as events:
        assert events.data() == 1
    assert "since=last%3A5" in render('{% pushd_source "orders" since="last:5" %}')


def test_url_grants_its_topics_and_nothing_else(daemon: PushdDaemon):
    url = render('{% pushd_source "users/{sub}/inbox" "news/*" slow="drop" %}', user=ALICE)
    assert urlsplit(url).path == "/sse/users/42/inbox,news/*"
    assert parse_qs(urlsplit(url).query)["sub"] == ["42"]
    with EventSource(url) as events:
        assert events.response.status == 200
    for other in (url.replace("/42/", "/43/"), url.replace("sub=42", "sub=43"), url.partition("?")[0]):
        with EventSource(other) as events:
            assert events.response.status == 401


def test_subject_is_that_of_the_request_or_the_one_given():
    request = RequestFactory().get("/")
    with override_settings(PUSHD={"URL": "http://127.0.0.1:1"}):
        for user, sub in ((ALICE, ["42"]), (AnonymousUser(), [])):
            request.user = user
            url = render('{% pushd_source "a" since="all" as url %}{{ url }}', request=request)
            assert parse_qs(urlsplit(url).query).get("sub", []) == []  # it is not signed
            with override_settings(PUSHD={"URL_KEY": ("web", "s" * 32)}):
                url = render('{% pushd_source "a" since="all" %}', request=request)
                assert parse_qs(urlsplit(url).query).get("sub", []) == sub
    with override_settings(PUSHD={}):
        assert source_url("users/{sub}", since="all", sub=7) == "http://127.0.0.1:8080/sse/users/7?since=all"


def test_page_is_rendered_without_the_daemon(caplog: pytest.LogCaptureFixture):
    with override_settings(PUSHD={"URL": "http://127.0.0.1:1", "TIMEOUT": 0.05}):
        url = render('{% pushd_source "a" %}')
    assert float(parse_qs(urlsplit(url).query)["since"][0]) > 1e9
    assert "Page is rendered without a cursor" in caplog.text


class _Attributes(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.values: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.values += [value for _, value in attrs]


@pytest.mark.parametrize("key", [None, ("web", "s" * 32)])
@pytest.mark.parametrize("topic", ["users/42", 'it\'s "<b>" & &lt; &copy=1;\\', "a?b#c", "ü/*", "</script>"])
def test_url_is_the_same_in_attributes_and_in_scripts(topic: str, key: tuple[str, str] | None):
    with override_settings(PUSHD={"URL": "http://127.0.0.1:1", "URL_KEY": key}):
        source = '{% pushd_source topic since="all" sub="&lt" slow="\'<" resource="a\'b" %}'
        url = render(source, topic=topic)
        assert not set(url) & set("\"'<>;\\ \n")
        attributes = _Attributes(render(f"<i a=\"{source}\" b='{source}' c={source}>", topic=topic))
    assert attributes.values == [url, url, url]
    assert json.loads(f'"{url}"') == url


@pytest.mark.parametrize(
    ("source", "context", "message"),
    [
        ('{% pushd_source "users/{sub}" %}', {"user": AnonymousUser()}, "must have a subject: nobody is logged in"),
        ('{% pushd_source "users/{sub}" sub="a/**" %}', {}, r"subject must be one segment.*'a/\*\*'"),
        ('{% pushd_source "users/"|add:1 %}', {}, "topic must not be empty"),
        ("{% pushd_source %}", {}, "topics must not be empty"),
    ],
)
def test_mistakes_in_templates(source: str, context: dict[str, Any], message: str):
    with override_settings(PUSHD={}), pytest.raises(ValueError, match=message):
        render(source.replace(" %}", ' since="all" %}'), **context)


def test_url_below_a_path_of_a_proxy_is_signed_without_it(daemon: PushdDaemon, pushd_settings: dict[str, Any]):
    with override_settings(PUSHD=pushd_settings | {"PUBLIC_URL": "https://example.org/push/"}):
        url = source_url("a", since="all")
    assert url.startswith("https://example.org/push/sse/a?since=all&exp=")
    with EventSource(daemon.url + url.removeprefix("https://example.org/push")) as events:
        assert events.response.status == 200
