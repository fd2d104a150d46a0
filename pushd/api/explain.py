"""Explanations of what a token allows, for operators."""

import msgspec

from pushd.auth.explanation import Explanation, Question, UrlQuestion, explain, explain_url
from pushd.core.errors import BadJson, BadParameter
from pushd.core.json_input import decode
from pushd.http.answers import json_answer
from pushd.http.query import require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpResource
from pushd.hub.authorization import check_operation

_MAX_BODY = 64 << 10
"""Bytes of a body: a token that is too long for the daemon is explained, too."""


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    action: str | None = None
    topic: str | None = None
    token: str | None = None
    url: str | None = None
    method: str = "GET"
    mount: str = ""


_decoder = msgspec.json.Decoder(_Body)


class ExplainResource(HttpResource):
    """``POST /auth/explain``: which check of a token or a signed URL, or which entry of its grant, allows or refuses
    something.
    """

    def max_body(self, request: Request) -> int:
        """Return the limit of a question with a token or a URL."""
        return _MAX_BODY

    async def post(self, request: Request) -> Answer:
        """Answer a question. The token and the URL are neither logged nor returned."""
        require_no_subpath(request)
        check_operation(request.peer, "explain")
        body = decode(_decoder, request.body)
        explanation = await self._explain(body, _question(body))
        return json_answer(request, explanation._asdict())

    async def _explain(self, body: _Body, question: Question | None) -> Explanation:
        authenticator, urls = self.context.authenticator, self.context.signed_urls
        if body.url is not None and urls is not None:
            if body.token is not None:
                raise BadParameter("token and url must not both be given")
            return await explain_url(
                authenticator, urls, UrlQuestion.parse(body.url, body.method, body.mount), question
            )
        if question is None:
            raise BadJson("the question needs action and topic, or url")
        return await explain(authenticator, body.token, question)


def _question(body: _Body) -> Question | None:
    """Return the question about an action; None if there is none, as the URL says what it asks for."""
    if body.action is None and body.topic is None:
        return None
    if body.action is None or body.topic is None:
        raise BadJson("action and topic must be given together")
    return Question.parse(body.action, body.topic)
