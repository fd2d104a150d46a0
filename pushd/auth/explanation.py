"""Explanations: which check of a token, or which entry of its grant, allows or refuses something.

They are for operators: the text may quote the grant and the subject, but neither a token nor a part of it.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast
from urllib.parse import unquote_to_bytes, urlsplit

from pushd.auth.authenticator import Authenticator
from pushd.auth.signed_urls import SignedUrls, topics_of
from pushd.auth.token_checks import Verdict
from pushd.auth.url_signature import SIGNATURE, Parameters, parse_query, signed_method
from pushd.core.errors import BadParameter, NotGranted, TokenInvalid, TokenMissing
from pushd.core.grant import ACTIONS, OPERATIONS, Action, Decision, Grant, Operation
from pushd.core.names import check_topic

OPERATE: Final = "operate"
"""The action of operators, whose topic is an operation."""
_of_anonymous: Final = "auth.anonymous.{}".format
"""Returns the setting with a key of the grant of peers without a credential."""


class Question(NamedTuple):
    """What is requested: an action on a topic, or the action `OPERATE` with an operation."""

    action: str
    topic: str

    @classmethod
    def parse(cls, action: str, topic: str) -> "Question":
        """Check an action and its topic.

        :raises BadParameter: when the action or the operation is unknown.
        :raises BadTopic: when the topic is neither a channel name nor a pattern.
        """
        if action not in (*ACTIONS, OPERATE):
            raise BadParameter(f"action must be one of {', '.join(ACTIONS)}, {OPERATE}")
        if action != OPERATE:
            return cls(action, check_topic(topic))
        if topic not in OPERATIONS:
            raise BadParameter(f"topic of the action {OPERATE} must be one of {', '.join(OPERATIONS)}")
        return cls(action, topic)

    def decide(self, grant: Grant) -> Decision:
        """Return what a grant decides."""
        if self.action == OPERATE:
            return grant.decide_operation(cast(Operation, self.topic))
        return grant.decide(cast(Action, self.action), self.topic)

    def __str__(self) -> str:
        """Return it as part of a sentence."""
        return f"operation {self.topic}" if self.action == OPERATE else f"action {self.action} on topic {self.topic}"


class Explanation(NamedTuple):
    """Why something is allowed or refused."""

    allow: bool
    code: str | None
    """The code of the refusal; None if it is allowed."""
    check: str
    """A `Check` of the token that failed; or the part of the grant that decided: ``allow``, ``deny`` or ``operate``; or
    ``off`` if authentication is off.
    """
    claim: str | None
    """The claim, header member, key of the tokens file, or setting that was examined; None if there is none."""
    pattern: str | None
    """The topic or operation in the grant that decided; None if no entry of the grant did."""
    message: str
    """The same as a sentence."""
    sub: str | None = None
    """The subject; None if the token is not accepted."""
    issuer: str | None = None
    """The name of the issuer in the configuration, or ``token:NAME``; None if none was found."""


_OFF: Final = Explanation(True, None, "off", None, None, "authentication is off: everything is allowed")


async def explain(authenticator: Authenticator, token: str | None, question: Question) -> Explanation:
    """Return why something is allowed or refused.

    :param token: None: for a peer without a credential.
    """
    if not authenticator.is_enabled:
        return _OFF
    if token is None:
        return _by_grant(question, authenticator.anonymous, _of_anonymous)
    verdict = await authenticator.examine(token)
    if verdict.identity is None:
        return _by_check(verdict)
    explained = _by_grant(question, verdict.identity.grant, verdict.claim_of)
    return explained._replace(sub=verdict.identity.subject, issuer=verdict.identity.issuer)


class UrlQuestion(NamedTuple):
    """A request for a signed URL."""

    method: bytes
    path: bytes
    """The decoded path."""
    parameters: Parameters

    @classmethod
    def parse(cls, url: str, method: str, mount: str) -> "UrlQuestion":
        """Parse a URL, absolute or from its path on.

        :param mount: the part of the path that a proxy removes before it passes requests on, such as ``/push``.
        :raises BadParameter: when it is not a URL, or its path does not begin with the mount point.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise BadParameter("url must be a URL, or a path with a query") from None
        path, mount = parts.path, mount.rstrip("/")
        if not path.startswith(f"{mount}/"):
            raise BadParameter("path of the url must begin with the mount point, and with /")
        return cls(method.encode(), unquote_to_bytes(path.removeprefix(mount)), parse_query(parts.query.encode()))

    def questions(self) -> tuple[Question, ...]:
        """Return what the request asks for: its action on each of the topics in its path."""
        action = "subscribe" if signed_method(self.method) == b"GET" else "publish"
        return tuple(Question(action, topic) for topic in topics_of(self.path))


async def explain_url(
    authenticator: Authenticator, urls: SignedUrls, url: UrlQuestion, question: Question | None
) -> Explanation:
    """Return why a request for a signed URL is allowed or refused.

    :param question: None: what the request asks for; if that has several topics, the first that is refused.
    """
    if not authenticator.is_enabled:
        return _OFF
    questions = url.questions() if question is None else (question,)
    if not questions:
        return Explanation(False, NotGranted.code, "allow", "path", None, "path of the URL has no topics to grant")
    if not urls.keys or SIGNATURE not in url.parameters:
        reason = "it has no sig" if urls.keys else "auth.url_keys names no key"
        explained = _first([_by_grant(each, authenticator.anonymous, _of_anonymous) for each in questions])
        return explained._replace(message=f"URL is not taken as signed, since {reason}: {explained.message}")
    verdict = authenticator.unless_revoked(await urls.examine(url.method, url.path, url.parameters))
    identity = verdict.identity
    if identity is None:
        return _by_check(verdict)
    explained = _first([_by_grant(each, identity.grant, verdict.claim_of) for each in questions])
    return explained._replace(sub=identity.subject, issuer=identity.issuer)


def _first(explanations: Sequence[Explanation]) -> Explanation:
    """Return the first that refuses, else the first."""
    return next((each for each in explanations if not each.allow), explanations[0])


def _by_check(verdict: Verdict) -> Explanation:
    """Return the explanation of a token that is not accepted."""
    refusal = verdict.refusal or TokenInvalid("token is not accepted")
    message = f"{refusal}: {verdict.detail}" if verdict.detail else str(refusal)
    check, claim, issuer = verdict.check or "", verdict.claim or None, verdict.issuer or None
    return Explanation(False, refusal.code, check, claim, None, message, issuer=issuer)


def _by_grant(question: Question, grant: Grant, claim_of: Callable[[str], str]) -> Explanation:
    """Return the explanation of what a grant decides."""
    decision = question.decide(grant)
    check = decision.key if decision.key in ("deny", OPERATE) else "allow"
    claim = claim_of(decision.key)
    if decision.is_allowed:
        message = f"{question} is allowed by {decision.entry} in {claim}"
        return Explanation(True, None, check, claim, decision.entry, message)
    code = TokenMissing.code if claim_of is _of_anonymous else NotGranted.code
    reason = _reason(question, grant, decision, claim)
    return Explanation(False, code, check, claim or None, decision.entry, reason)


def _reason(question: Question, grant: Grant, decision: Decision, claim: str) -> str:
    """Return why a grant does not allow something."""
    if decision.entry is not None:
        return f"{question} has channels in common with {decision.entry} in {claim}"
    where = f" by {claim}" if claim else ": no claim is mapped to it"
    if question.action == OPERATE:
        return f"{question} is not granted{where}"
    instead = grant.similar(cast(Action, question.action), question.topic)
    return f"{question} is not granted{where}" + (f"; accepted: {instead}" if instead else "")
