"""Names, parameters and cursors of any request are parsed or refused."""

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.cursor import NOW, Last, Since, parse_since
from pushd.core.errors import BadParameter, BadSince, Refusal
from pushd.http.query import decimal, flag, name_in_path, parameter, policy_of, since_of, whole_number
from pushd.http.request import Request

QUERIES = st.lists(
    st.sampled_from([b"since=", b"a=", b"&", b"=", b";", b"%", b"%41", b"%ff", b"%C3%BC", b"+", b"all", b"last:2"])
    | st.binary(max_size=3),
    max_size=8,
).map(b"".join)
NUMBERS = st.integers(-5, 10**20).map(str) | st.decimals(allow_nan=True).map(str) | st.text(max_size=6)


def request_for(query: bytes = b"", *, path: bytes = b"/sse/a", headers: dict[bytes, bytes] | None = None) -> Request:
    """Return a request as its resource receives it, without the first segment of the path."""
    request = Request(None, b"GET", path + b"?" + query, headers or {})  # type: ignore[arg-type]
    del request.postpath[0]
    return request


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["", "/", "/:@!$&'()*+,;="]))
def test_any_name_round_trips_through_percent_encoding(name: str, safe: str) -> None:
    assert name_in_path(request_for(path=b"/sse/" + quote(name, safe=safe).encode())) == name


@given(st.dictionaries(st.sampled_from(["a", "b", "ü"]), st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_parameter_round_trips_through_form_encoding(values: dict[str, str]) -> None:
    request = request_for(urlencode(values).encode())
    for name in ("a", "b", "ü", "other"):
        assert parameter(request, name.encode()) == values.get(name)


@given(QUERIES, QUERIES, st.none() | st.binary(max_size=8) | st.sampled_from([b"all", b"last:2", b"E-1"]))
def test_any_query_is_parsed_or_refused(query: bytes, path: bytes, header: bytes | None) -> None:
    headers = {} if header is None else {b"last-event-id": header}
    request = request_for(query, path=b"/sse/" + path.replace(b"?", b""), headers=headers)
    for read in (name_in_path, since_of, policy_of):
        try:
            read(request)
        except Refusal as refusal:
            assert len(str(refusal).splitlines()) == 1
    if header:
        assert _since(request) == _since(request_for(b"since=all", headers=headers)), "the header takes precedence"


def _since(request: Request) -> Since | None:
    try:
        return since_of(request)
    except BadSince:
        return None


@given(NUMBERS)
def test_a_number_is_within_its_range_or_refused(text: str) -> None:
    request = request_for(urlencode({"n": text.encode("utf-8", "surrogatepass")}).encode())
    try:
        number = whole_number(request, b"n", 3, 0, 1000)
        assert 0 <= number <= 1000 and number == int(text)
    except Refusal:
        assert not (text.isascii() and text.isdigit() and int(text) <= 1000 and len(text) < 18)
    try:
        given = decimal(request, b"n")
        assert given is not None and 0 <= given < 10**12 and given == float(text)
    except Refusal:
        assert not (text.isascii() and text.isdigit() and len(text) <= 12)


@pytest.mark.parametrize(
    ("query", "since"),
    [
        (b"", NOW),
        (b"since=last:2", Last(2)),
        (b"since=&last_event_id=last:3", Last(3)),
        (b"lastEventID=E-1", parse_since("E-1")),
    ],
)
def test_three_parameters_set_the_start_position(query: bytes, since: Since) -> None:
    assert since_of(request_for(query)) == since


def test_a_missing_parameter_has_its_default_and_a_repeated_one_is_refused() -> None:
    assert (whole_number(request_for(), b"n", 3, 0, 9), decimal(request_for(), b"n")) == (3, None)
    assert policy_of(request_for()) is None
    with pytest.raises(BadParameter):
        parameter(request_for(b"a=1&a=1"), b"a")


def test_flag_is_0_or_1_or_missing() -> None:
    found = [flag(request_for(query), b"n") for query in (b"", b"n=0", b"n=1")]
    assert found == [None, False, True]
    for query in (b"n=", b"n=2", b"n=true"):
        with pytest.raises(BadParameter, match="n must be 0 or 1"):
            flag(request_for(query), b"n")
