"""Messages as publishers send them in JSON: what is accepted, and the refusals of everything else."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.errors import (
    BadChannel,
    BadContentType,
    BadEvent,
    BadJson,
    BadTtl,
    Forbidden,
    Refusal,
    TooLarge,
)
from pushd.core.json_input import decode
from pushd.core.message import BINARY, JSON, TEXT, Draft
from pushd.wire.publication import check_size, parse_publication


def parse(text: str | bytes, max_data: int = 1000, max_event: int = 255) -> Draft:
    return parse_publication(text.encode() if isinstance(text, str) else text, max_data, max_event)


@pytest.mark.parametrize(
    ("text", "data", "content_type", "form"),
    [
        ('{"channel":"a","data":"x"}', b"x", TEXT, "text"),
        ('{"channel":"a","data":""}', b"", TEXT, "text"),
        (r'{"channel":"a","data":"\u00fc\n\u0000"}', "ü\n\0".encode(), TEXT, "text"),
        (r'{"channel":"a","data":"\ud83c\udf88"}', "🎈".encode(), TEXT, "text"),
        ('{"channel":"a","data":{"b": [1, null]}}', b'{"b": [1, null]}', JSON, "json"),
        ('{ "channel" : "a" , "data" :  [1] }', b"[1]", JSON, "json"),
        ('{"channel":"a","data":  "x"  }', b"x", TEXT, "text"),
        ('{"data":1.50,"channel":"a"}', b"1.50", JSON, "json"),
        ('{"channel":"a","data":12345678901234567890}', b"12345678901234567890", JSON, "json"),
        ('{"channel":"a","data":null}', b"null", JSON, "json"),
        ('{"channel":"a","data":false}', b"false", JSON, "json"),
        ('{"channel":"a","data":"x","content_type":"application/json"}', b'"x"', JSON, "json"),
        ('{"channel":"a","data":[1],"content_type":"application/json"}', b"[1]", JSON, "json"),
        ('{"channel":"a","data":"<p>","content_type":"text/html"}', b"<p>", "text/html", "text"),
        ('{"channel":"a","data":"x","content_type":null,"event":null,"ttl":null}', b"x", TEXT, "text"),
        ('{"channel":"a","data_base64":"/wA="}', b"\xff\x00", BINARY, "binary"),
        ('{"channel":"a","data_base64":""}', b"", BINARY, "binary"),
        ('{"channel":"a","data_base64":"/9j/4AAQSkZJRg=="}', b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg", "binary"),
        ('{"channel":"a","data_base64":"R0lGODlhAQABAAA="}', b"GIF89a\1\0\1\0\0", "image/gif", "binary"),
        ('{"channel":"a","data_base64":"eA==","content_type":"text/plain"}', b"x", "text/plain", "text"),
        ('{"channel":"a","data_base64":"WzFd","content_type":"application/json"}', b"[1]", JSON, "json"),
        ('{"channel":"a","end":true}', b"", TEXT, "text"),
    ],
)
def test_data_is_any_json_value_or_base64(text: str, data: bytes, content_type: str, form: str) -> None:
    read = parse(text)
    assert (read.channel, read.data, read.content_type, read.encoding) == ("a", data, content_type, form)


def test_event_ttl_and_end_are_parsed() -> None:
    read = parse('{"channel":"a/b","data":"x","event":"update","ttl":60,"end":true}')
    assert (read.channel, read.event, read.ttl, read.end) == ("a/b", "update", 60.0, True)
    plain = parse('{"channel":"a","data":"x","event":""}')
    assert (plain.event, plain.ttl, plain.end) == (None, None, False)


DEEP = '{"channel":"a","data":' + "[" * 100_000 + "]" * 100_000 + "}"


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", BadJson),
        ("{", BadJson),
        ("null", BadJson),
        ("[]", BadJson),
        ('"a"', BadJson),
        ("{}", BadJson),
        ('{"data":"x"}', BadJson),
        ('{"channel":"a"}', BadJson),
        ('{"channel":"a","end":false}', BadJson),
        ('{"channel":"a","data":"x"} x', BadJson),
        ('{"channel":"a","data":"x"}{"channel":"a","data":"x"}', BadJson),
        ('{"channel":"a","data":"x","data_base64":"eA=="}', BadJson),
        ('{"channel":"a","data":"x","type":"text/plain"}', BadJson),
        ('{"channel":"a","data":"x","Data":"x"}', BadJson),
        ('{"channel":"a","data":"x","from":"alice"}', BadJson),
        ('{"channel":"a","data":"x","sender":"alice"}', BadJson),
        ('{"channel":1,"data":"x"}', BadJson),
        ('{"channel":null,"data":"x"}', BadJson),
        ('{"channel":"a","data":NaN}', BadJson),
        ('{"channel":"a","data":01}', BadJson),
        ('{"channel":"a","data":"\\ud800"}', BadJson),
        ('{"channel":"a","data":"a\nb"}', BadJson),
        (DEEP, BadJson),
        (b'{"channel":"a","data":"\xff"}', BadJson),
        (b'\xef\xbb\xbf{"channel":"a","data":"x"}', BadJson),
        (b'{"channel":"a\xff","data":"x"}', BadJson),
        ('{"channel":"a","data":{},"content_type":"text/plain"}', BadJson),
        ('{"channel":"a","data":1,"content_type":"image/png"}', BadJson),
        ('{"channel":"a","data_base64":"eA"}', BadJson),
        ('{"channel":"a","data_base64":"e A=="}', BadJson),
        ('{"channel":"a","data_base64":"eA==\\n"}', BadJson),
        ('{"channel":"a","data_base64":"_-A="}', BadJson),
        ('{"channel":"a","data_base64":"ü"}', BadJson),
        ('{"channel":"a","data_base64":null}', BadJson),
        ('{"channel":"a","data_base64":"ew==","content_type":"application/json"}', BadJson),
        ('{"channel":"a","data":"x","event":5}', BadJson),
        ('{"channel":"a","data":"x","ttl":"60"}', BadJson),
        ('{"channel":"a","data":"x","ttl":true}', BadJson),
        ('{"channel":"a","data":"x","end":1}', BadJson),
        ('{"channel":"a","data":"x","ttl":0}', BadTtl),
        ('{"channel":"a","data":"x","ttl":-1}', BadTtl),
        ('{"channel":"a","data":"x","ttl":1e300}', BadTtl),
        ('{"channel":"a","data":"x","event":"a\\nid: 1"}', BadEvent),
        ('{"channel":"a","data":"x","content_type":"plain"}', BadContentType),
        ('{"channel":"a","data":"x","content_type":"text/plain\\r\\nX: 1"}', BadContentType),
        ('{"channel":"","data":"x"}', BadChannel),
        ('{"channel":"a b","data":"x"}', BadChannel),
        ('{"channel":"a/*","data":"x"}', BadChannel),
        ('{"channel":"a,b","data":"x"}', BadChannel),
        ('{"channel":"$sys","data":"x"}', Forbidden),
    ],
    ids=lambda case: repr(case[:60]) if isinstance(case, (str, bytes)) else case.__name__,
)
def test_invalid_input_is_refused_with_its_class(text: str | bytes, refusal: type[Refusal]) -> None:
    with pytest.raises(Refusal) as caught:
        parse(text)
    assert type(caught.value) is refusal


@pytest.mark.parametrize(
    ("at_most", "too_large"),
    [
        ('{"channel":"a","data":"12345"}', '{"channel":"a","data":"123456"}'),
        (r'{"channel":"a","data":"\u00fc\n\n\n"}', '{"channel":"a","data":"üüü"}'),
        ('{"channel":"a","data":[1,2]}', '{"channel":"a","data":[1, 2]}'),
        ('{"channel":"a","data_base64":"MTIzNDU="}', '{"channel":"a","data_base64":"MTIzNDU2"}'),
    ],
)
def test_data_limit_counts_bytes(at_most: str, too_large: str) -> None:
    assert len(parse(at_most, max_data=5).data) == 5
    with pytest.raises(TooLarge):
        parse(too_large, max_data=5)


def test_event_type_limit_is_configurable() -> None:
    assert parse('{"channel":"a","data":"x","event":"four"}', max_event=4).event == "four"
    with pytest.raises(BadEvent):
        parse('{"channel":"a","data":"x","event":"fives"}', max_event=4)


def test_data_of_exactly_the_limit_is_accepted() -> None:
    check_size(5, 5)
    with pytest.raises(TooLarge):
        check_size(6, 5)


@pytest.mark.parametrize(
    "text",
    [
        '{"channel":"a","data":"x","ttl":"secret"}',
        '{"channel":["secret"],"data":"x"}',
        '{"channel":"a","data":secret}',
        '{"channel":"a","data":"x","content_type":"secret"}',
        '{"channel":"a","data":"x","event":"secret\\n"}',
        '{"channel":"secret?","data":"x"}',
    ],
)
def test_refusal_does_not_repeat_input(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["unknown", r"line\r\n+OK forged", r"line\u2028separator", "long" * 1000])
def test_refusal_is_one_short_line_for_any_key(key: str) -> None:
    with pytest.raises(BadJson) as caught:
        parse(f'{{"channel":"a","data":"x","{key}":1}}')
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < 300


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ('"end":"no"', "Expected `bool`, got `str` - at `$.end`"),
        ('"except":["a"]', "Expected `str | null`, got `array` - at `$.except`"),
        ('"secret words":1', "Object contains unknown field"),
        ('"keeep":false', "Object contains unknown field `keeep`"),
        ('"keep` - at":1', "Object contains unknown field"),
    ],
)
def test_refusal_names_the_member_and_its_type(member: str, reason: str) -> None:
    with pytest.raises(BadJson) as caught:
        parse(f'{{"channel":"a","data":"x",{member}}}')
    assert str(caught.value) == reason


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_input_is_accepted_or_refused(text: bytes) -> None:
    for sent in (
        text,
        b'{"channel":"a","data":' + text + b"}",
        b'{"channel":"a","data_base64":"' + text + b'"}',
    ):
        try:
            parse(sent)
        except Refusal as refusal:
            assert len(str(refusal).splitlines()) == 1


@given(st.text())
def test_any_text_is_published_unchanged(text: str) -> None:
    assert parse(json.dumps({"channel": "a", "data": text})).data == text.encode()


def test_json_is_decoded_to_any_type() -> None:
    decoder = msgspec.json.Decoder(dict[str, int])
    assert decode(decoder, b'{"a":1}') == {"a": 1}
    for wrong in (b'{"a":"b"}', b"{", b'{"a\xff":1}'):
        with pytest.raises(BadJson):
            decode(decoder, wrong)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'\xef\xbb\xbf{"channel":"a","data":"x"}', "byte order mark"),
        (b'{"channel":"a","data":"\\ud800"}', "surrogate"),
        (b'{"channel":"a\\udc00","data":"x"}', "surrogate"),
        (b'{"channel":"a","data":{"b":"\\ud800"}}', "surrogate"),
        (b'{"channel":"a","data":[1e400]}', "out of range"),
    ],
)
def test_refusal_of_json_names_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(BadJson, match=reason):
        parse(text)


def test_string_is_utf8_whatever_charset_its_type_has() -> None:
    made = parse('{"channel":"a","data":"ü","content_type":"text/plain; charset=iso-8859-1"}')
    assert (made.data.decode(), made.content_type, made.encoding) == ("ü", "text/plain; charset=utf-8", "text")


def test_bytes_are_text_of_the_charset_of_their_type() -> None:
    made = parse('{"channel":"a","data_base64":"/A==","content_type":"text/plain; charset=iso-8859-1"}')
    assert (made.data.decode(), made.content_type, made.encoding) == ("ü", "text/plain; charset=utf-8", "text")


def test_limit_counts_the_bytes_that_are_stored() -> None:
    text = b'{"channel":"a","data_base64":"/Pw=","content_type":"text/plain; charset=iso-8859-1"}'
    assert parse_publication(text, 4, 255).data == "üü".encode()
    with pytest.raises(TooLarge):
        parse_publication(text, 3, 255)
