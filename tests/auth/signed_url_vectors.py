"""Make the test vectors of signed URLs: `python -m tests.auth.signed_url_vectors > docs/signed-urls.json`.

It signs on its own, with nothing of pushd, so that it is also an example for other languages.
"""

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote, unquote_to_bytes

KEY_ID = "web"
SECRET = b"0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000
"""The time of the vectors, in unix seconds."""
NOT_SIGNED = (b"sig", b"lastEventId", b"lastEventID", b"last_event_id", b"Last-Event-ID")
TIMES = f"exp={NOW + 300}&kid={KEY_ID}"

Vector = dict[str, Any]


def canonical_form(method: str, path: str, query: str) -> str:
    """Return what is signed, of the path and query as they are sent."""
    pairs = []
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        decoded = [unquote_to_bytes(each.replace("+", " ")) for each in (name, value)]
        if decoded[0] not in NOT_SIGNED:
            pairs.append([quote(each, safe="") for each in decoded])
    signed = "&".join(f"{name}={value}" for name, value in sorted(pairs))
    method = {"HEAD": "GET", "PUT": "POST"}.get(method, method)
    return f"pushd1\n{method}\n{unquote_to_bytes(path).decode('utf-8')}\n{signed}"


def signature_of(form: str) -> str:
    """Return the signature of a canonical form."""
    digest = hmac.new(SECRET, form.encode("utf-8"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def accepted() -> list[Vector]:
    """Return vectors whose signatures are valid."""
    same = f"{TIMES}&slow=drop"
    requests = [
        ("the simplest URL", "GET", "/sse/news", TIMES, ""),
        ("all parameters", "GET", "/sse/news", f"exp={NOW + 300}&until={NOW + 7200}&sub=alice&kid={KEY_ID}", ""),
        ("HEAD is signed as GET", "HEAD", "/sse/news", TIMES, ""),
        ("POST", "POST", "/pub/chat/42", TIMES, ""),
        ("PUT is signed as POST", "PUT", "/pub/chat/42", TIMES, ""),
        ("order of parameters does not matter: in order", "GET", "/sse/news", same, ""),
        (
            "order of parameters does not matter: another order",
            "GET",
            "/sse/news",
            f"slow=drop&kid=web&exp={NOW + 300}",
            "",
        ),
        ("several topics and a pattern", "GET", "/stream/news/*,weather/**", TIMES, ""),
        ("percent-encoded path is decoded", "GET", "/stream/news%2F%2A%2Cweather/%2a%2A", TIMES, ""),
        ("path beyond ASCII", "GET", "/sse/caf%C3%A9/%E6%97%A5%E6%9C%AC", TIMES, ""),
        ("lower-case hexadecimal digits", "GET", "/sse/caf%c3%a9/%e6%97%a5%e6%9c%ac", TIMES, ""),
        ("decomposed letters are other bytes", "GET", "/sse/cafe%CC%81", TIMES, ""),
        ("plus in the path is a plus", "GET", "/sse/a+b", TIMES, ""),
        ("plus in the query is a space", "GET", "/sse/a", f"{TIMES}&x=a+b", ""),
        ("a space as %20", "GET", "/sse/a", f"{TIMES}&x=a%20b", ""),
        ("a plus as %2B", "GET", "/sse/a", f"{TIMES}&x=a%2bb", ""),
        ("unreserved characters are not encoded", "GET", "/sse/a", f"{TIMES}&x=%41-.%5F~", ""),
        ("all other characters are encoded", "GET", "/sse/a", f"{TIMES}&x=!$'()*,;:@/?", ""),
        ("names are encoded before they are sorted", "GET", "/sse/a", f"{TIMES}&~=1&%C3%A9=2", ""),
        ("a name is sorted before a longer one", "GET", "/sse/a", f"{TIMES}&a-b=1&a=2", ""),
        ("a name that is given twice is sorted by value", "GET", "/sse/a", f"{TIMES}&x=2&x=10&x=", ""),
        ("empty value, and no value", "GET", "/sse/a", f"{TIMES}&x=&y", ""),
        ("empty pairs are left out", "GET", "/sse/a", f"&{TIMES}&&x=1&", ""),
        ("equals sign in a value", "GET", "/sse/a", f"{TIMES}&x=a=b", ""),
        ("a sequence that is not percent-encoding", "GET", "/sse/a", f"{TIMES}&x=%zz%4", ""),
        ("since is signed", "GET", "/sse/news", f"{TIMES}&since=last:10", ""),
        ("reconnect parameters are not signed", "GET", "/sse/news", TIMES, "lastEventId=k3QzT9wP-17"),
        ("reconnect parameter of Yaffle's polyfill", "GET", "/sse/news", TIMES, "lastEventID=k3QzT9wP-17"),
        ("reconnect parameter with underscores", "GET", "/sse/news", TIMES, "last_event_id=k3QzT9wP-17"),
        ("reconnect parameter like the header", "GET", "/sse/news", TIMES, "Last-Event-ID=k3QzT9wP-17"),
        ("subject beyond ASCII", "GET", "/sse/news", f"{TIMES}&sub=J%C3%BCrgen+B.", ""),
        ("a path without topics", "GET", "/ws", TIMES, ""),
        ("slash at the end of the path", "GET", "/sse/news/", TIMES, ""),
        ("line feed in the path", "GET", "/sse/a%0Ab=c", TIMES, ""),
    ]
    return [_vector(*request) for request in requests]


def _vector(about: str, method: str, path: str, query: str, added: str) -> Vector:
    form = canonical_form(method, path, query)
    sent = "&".join([query, f"sig={signature_of(form)}", *filter(None, [added])])
    return {"about": about, "method": method, "target": f"{path}?{sent}", "canonical": form, "sig": signature_of(form)}


def document() -> str:
    """Return the file of the vectors."""
    content = {
        "about": "Test vectors of the signed URLs of pushd; see docs/authentication.md#signed-urls",
        "kid": KEY_ID,
        "secret": SECRET.decode("ascii"),
        "now": NOW,
        "accepted": accepted(),
    }
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    print(document(), end="")
