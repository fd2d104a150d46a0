"""What the application is asked by a callback, and what it answers: JSON objects."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple, get_args

import msgspec

from pushd.core.grant import Grant

CallbackAction = Literal["connect", "subscribe", "publish"]
"""What the application decides: whether a peer may connect, read topics, or publish to channels."""
CALLBACK_ACTIONS: Final[tuple[CallbackAction, ...]] = get_args(CallbackAction)
DEFAULT_TTL: Final = 60.0
MAX_TTL: Final = 24 * 3600
_NULL: Final = b"null"
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Question(NamedTuple):
    """A question to the application. Equal questions have equal bytes."""

    action: CallbackAction
    topics: tuple[str, ...]
    """The topics to read or the channels to publish to; none for `connect`."""
    sub: str | None
    """The subject of the verified credential; None without one."""
    claims: bytes
    """The claims of a JSON Web Token, as JSON; empty for other credentials."""
    address: str
    connection: str | None
    """The id of the connection of a command; None for what an HTTP request asks, and for `connect`."""
    transport: str
    headers: Mapping[str, str] = _NO_HEADERS
    """Those headers of the HTTP request that `forward_headers` names."""

    def encode(self) -> bytes:
        """Return the body of the request."""
        return msgspec.json.encode(self._asdict() | {"claims": msgspec.Raw(self.claims or _NULL)})


class Answer(NamedTuple):
    """What the application has answered."""

    is_allowed: bool
    grant: Grant | None = None
    """What narrows the grant of a credential, or replaces that of an anonymous peer; None: neither."""
    ttl: float = DEFAULT_TTL
    """For how many seconds the same question has the same answer."""
    size: int = 0
    """The bytes of the answer."""


class InvalidAnswer(Exception):
    """An answer is not of the expected form. The text is a clause for the log."""


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    allow: bool
    grant: dict[str, object] | None = None
    ttl: Annotated[float, msgspec.Meta(ge=0, le=MAX_TTL)] = DEFAULT_TTL


_decoder = msgspec.json.Decoder(_Answer)


def parse_answer(body: bytes, subject: str | None) -> Answer:
    """Return the answer in the body of a response.

    :param subject: replaces ``{sub}`` in the grant.
    :raises InvalidAnswer: when it is not of the expected form; then nothing is allowed.
    """
    try:
        answer = _decoder.decode(body)
        grant = None if answer.grant is None else Grant.parse(answer.grant, subject, where="grant")
    except (ValueError, RecursionError) as error:  # msgspec raises subclasses of ValueError
        raise InvalidAnswer(f"the answer is not of the expected form: {error}"[:300]) from None
    return Answer(answer.allow, grant, answer.ttl, len(body))
