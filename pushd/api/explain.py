"""Explanations of what a token allows, for operators."""

import msgspec

from pushd.auth.explanation import Question, explain
from pushd.core.json_input import decode
from pushd.http.answers import json_answer
from pushd.http.query import require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpResource
from pushd.hub.authorization import check_operation

_MAX_BODY = 64 << 10
"""Bytes of a body: a token that is too long for the daemon is explained, too."""


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    action: str
    topic: str
    token: str | None = None


_decoder = msgspec.json.Decoder(_Body)


class ExplainResource(HttpResource):
    """``POST /auth/explain``: which check of a token, or which entry of its grant, allows or refuses something."""

    def max_body(self, request: Request) -> int:
        """Return the limit of a question with a token."""
        return _MAX_BODY

    async def post(self, request: Request) -> Answer:
        """Answer a question. The token is neither logged nor returned."""
        require_no_subpath(request)
        check_operation(request.peer, "explain")
        body = decode(_decoder, request.body)
        question = Question.parse(body.action, body.topic)
        explanation = await explain(self.context.authenticator, body.token, question)
        return json_answer(request, explanation._asdict())
