"""Publishing by HTTP: ``/pub/CH[,CH...]`` for a message, ``/pub`` for a batch; and the status of a channel."""

from collections.abc import Sequence

from msgspec import structs

from pushd.core.errors import BadChannel, BadParameter, BadTtl, Forbidden, NotFound, Refusal, TooLarge
from pushd.core.idempotency import IdempotencyKey
from pushd.core.media_type import essence
from pushd.core.message import Draft, Exclusion, draft
from pushd.core.names import REPLY, check_channel, check_publishable, is_reply
from pushd.core.peer import Peer
from pushd.http.answers import json_answer
from pushd.http.errors import prefers_text
from pushd.http.message_body import check_body_is_data, content_type_of, type_of_data
from pushd.http.query import decimal, flag, name_in_path, parameter
from pushd.http.refusals import UnsupportedType
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub
from pushd.hub.publishing import Receipt
from pushd.wire.json_messages import encode, refusal_object
from pushd.wire.publication import check_size, parse_publication

_NDJSON = "application/x-ndjson"
_MAX_KEY = 255
"""The most bytes of an idempotency key."""
_MAX_LINES = 50_000
"""The most lines of a batch. Its answer has as many, all of which are in memory at once."""
_ANSWER_SLICE = 2000
"""Lines of the answer to a batch that are encoded in one reactor turn: about 2 ms."""
_MAX_CHANNELS = 1000
"""The most channels of one publish: as many as the topics of a subscription."""


class PublishResource(HttpResource):
    """``POST``: publish. ``GET``: the status of a channel. ``DELETE``: delete a channel."""

    write_parameters = frozenset({"end", "event", "except", "keep", "ttl"})

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    def max_body(self, request: Request) -> int:
        """Return the limit of a batch for ``/pub``, else that of a message."""
        limits = self.context.limits
        return limits.message if request.postpath else limits.batch

    async def post(self, request: Request) -> Answer:
        """Publish a message or a batch."""
        name = name_in_path(request)
        request.prioritize()
        check_body_is_data(request)
        if not request.postpath:
            return await self._publish_batch(request)
        channels = [check_publishable(channel) for channel in name.split(",", _MAX_CHANNELS)]
        if len(channels) > _MAX_CHANNELS:
            raise BadChannel(f"a message must not go to more than {_MAX_CHANNELS} channels at once")
        drafts = self._drafts(request, list(dict.fromkeys(channels)))
        published = [channel for channel in channels if not is_reply(channel)]
        self._hub.callbacks.check_before_publish(request.peer, published)  # all of them, before anything is stored
        receipts = await self._hub.publish_all(request.peer, drafts, _key(request, name), as_whole=True)
        return _answer_receipts(request, receipts, is_list="," in name)

    put = post

    def _drafts(self, request: Request, channels: Sequence[str]) -> list[Draft]:
        content_type = type_of_data(request)
        data, event, ttl = request.body, parameter(request, b"event"), _ttl(request)
        end, keep = flag(request, b"end") or False, flag(request, b"keep")
        connection = parameter(request, b"except")
        exclude = None if connection is None else Exclusion.parse(connection)
        limits = self.context.limits
        first = draft(
            channels[0],
            data,
            content_type,
            event,
            ttl,
            end=end,
            keep=keep,
            exclude=exclude,
            max_event=limits.event,
        )
        check_size(len(first.data), limits.message)
        return [first, *(structs.replace(first, channel=channel) for channel in channels[1:])]

    async def _publish_batch(self, request: Request) -> Answer:
        if essence(content_type_of(request)) != _NDJSON:
            raise UnsupportedType(f"Content-Type of a batch must be {_NDJSON}; use /pub/CHANNEL for a single message")
        if request.body.count(b"\n") + (not request.body.endswith(b"\n")) > _MAX_LINES:
            raise TooLarge(f"batch must not exceed {_MAX_LINES} lines, empty ones included")
        lines = [line for line in request.body.split(b"\n") if line.strip()]
        outcomes = await self._hub.publish_all(request.peer, map(self._parse, lines), _key(request, ""))
        request.setHeader(b"Content-Type", _NDJSON.encode("ascii"))
        peer = self.context.requester(request)
        answer = []
        for first in range(0, len(outcomes), _ANSWER_SLICE):
            if first:
                await self._hub.turn()
            answer += [encode(self._line(outcome, peer)) for outcome in outcomes[first : first + _ANSWER_SLICE]]
        return b"\n".join([*answer, b""])

    def _parse(self, line: bytes) -> Draft | Refusal:
        try:
            return parse_publication(line, self.context.limits.message, self.context.limits.event)
        except Refusal as refusal:
            return refusal.without_traceback()

    def _line(self, outcome: Receipt | Refusal, peer: Peer) -> object:
        if isinstance(outcome, Receipt):
            return outcome.facts()
        self.context.counters.count_refusal(outcome, peer)
        return {"error": refusal_object(outcome)}

    async def get(self, request: Request) -> Answer:
        """Answer with the status of a channel."""
        status = await self._hub.queries.status(request.peer, _channel(request))
        facts = status.info.facts(sum(status.subscribers.values()))
        rule = self._hub.channel_settings.shown_rule(request.peer, status.info.channel)
        if rule is not None:
            facts["rule"] = rule
        facts["transports"] = status.subscribers
        if not prefers_text(request):
            return json_answer(request, facts)
        facts["transports"] = " ".join(f"{name}={count}" for name, count in sorted(status.subscribers.items()))
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        lines = (f"{name}: {'-' if value in (None, '') else value}\n" for name, value in facts.items())
        return "".join(lines).encode("utf-8")

    async def delete(self, request: Request) -> Answer:
        """Delete a channel with its history."""
        channel = _channel(request)
        if is_reply(check_publishable(channel)):
            raise Forbidden(f"channel name must not begin with {REPLY}: these channels are for replies")
        await self._hub.delete(request.peer, channel)
        return json_answer(request, {"deleted": channel})


def _channel(request: Request) -> str:
    if not request.postpath:
        raise NotFound("channel is missing; use /pub/CHANNEL")
    return check_channel(name_in_path(request))


def _ttl(request: Request) -> float | None:
    try:
        return decimal(request, b"ttl")
    except BadParameter:
        raise BadTtl("ttl must be a positive number of seconds, at most ten years") from None


def _key(request: Request, scope: str) -> IdempotencyKey | None:
    key = request.getHeader(b"idempotency-key")
    if key is None:
        return None
    if not key or len(key) > _MAX_KEY:
        raise BadParameter(f"Idempotency-Key must have 1 to {_MAX_KEY} bytes")
    identity = request.peer.identity
    publisher = None if identity is None else (identity.authority, identity.subject or "")
    return IdempotencyKey.of(key, scope, request.body, publisher)


def _answer_receipts(request: Request, receipts: Sequence[Receipt | Refusal], *, is_list: bool) -> bytes:
    """Return the receipts of one message in its channels. The status is 201 if any has subscribers, else 202."""
    accepted = [receipt for receipt in receipts if isinstance(receipt, Receipt)]
    if not accepted:
        raise next(receipt for receipt in receipts if isinstance(receipt, Refusal))
    request.setResponseCode(201 if any(receipt.subscribers for receipt in accepted) else 202)
    shown = [
        receipt.facts() if isinstance(receipt, Receipt) else {"error": refusal_object(receipt)} for receipt in receipts
    ]
    return json_answer(request, shown if is_list else shown[0])
