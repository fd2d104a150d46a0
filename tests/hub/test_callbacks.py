"""The checks by the application: what the hub asks, in which order, and what follows from the answers."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pushd.auth.callback_question import Answer, Question
from pushd.core.answered_grant import UNASKED, AnonymousGrant, NarrowedGrant
from pushd.core.cursor import NOW, Everything
from pushd.core.errors import CallbackUnavailable, NotGranted, Refusal, TokenMissing, TokenRevoked
from pushd.core.grant import NOTHING, Grant
from pushd.core.identity import Identity
from pushd.core.message import draft
from pushd.core.peer import DAEMON, Peer
from pushd.hub.publishing import Receipt
from tests.hub.hub_fixture import HubFixture


class FakeApplication:
    """Answers when the test says so, or at once with `answer`."""

    forward_headers = ()

    def __init__(self, *actions: str) -> None:
        self.asks_connect = "connect" in actions
        self.asks_subscribe = "subscribe" in actions
        self.asks_publish = "publish" in actions
        self.answer: Answer | Exception | None = Answer(True)
        self.questions: list[Question] = []
        self.pending: list[Deferred[Answer]] = []

    async def ask(self, question: Question) -> Answer:
        """See `Application`."""
        self.questions.append(question)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        pending: Deferred[Answer] = Deferred()
        self.pending.append(pending)
        return await pending


def grant(subject: str | None = None, **table: Any) -> Grant:
    return Grant.parse(table, subject, where="grant")


def alice(**table: Any) -> Peer:
    """Return an authenticated peer."""
    granted = grant("alice", **table)
    return Peer("http", "10.0.0.1", granted, Identity("alice", granted, "shop", claims=b'{"sub":"alice"}'))


def anonymous(**table: Any) -> Peer:
    return Peer("http", "10.0.0.1", grant(**table) if table else NOTHING)


async def started(*actions: str) -> tuple[HubFixture, FakeApplication]:
    """Return a hub, and the application that it asks about some actions."""
    fixture, application = await HubFixture().start(), FakeApplication(*actions)
    untyped: Any = application
    fixture.hub.callbacks.application = untyped
    return fixture, application


async def test_what_a_credential_does_not_allow_is_not_asked() -> None:
    fixture, application = await started("connect", "subscribe", "publish")
    peer = alice(subscribe=["a"], publish=["a"])
    with pytest.raises(NotGranted):
        await fixture.hub.publish(peer, draft("b", b"x"))
    with pytest.raises(NotGranted):
        await fixture.hub.queries.history(peer, ["b"], NOW, 1, 1)
    with pytest.raises(NotGranted):
        await fixture.hub.queries.status(peer, "b")
    assert not application.questions


async def test_the_daemon_itself_is_not_asked_about() -> None:
    fixture, application = await started("connect", "subscribe", "publish")
    await fixture.hub.publish(DAEMON, draft("a", b"x"))
    await fixture.hub.publish_all(DAEMON, [draft("a", b"x")])
    await fixture.hub.queries.history(DAEMON, ["a"], NOW, 1, 1)
    assert not application.questions


async def test_a_question_has_the_topics_and_what_is_known_of_the_peer() -> None:
    fixture, application = await started("subscribe")
    await fixture.hub.queries.history(alice(subscribe=["**"]), ["a", "b/*"], NOW, 1, 1)
    assert application.questions == [
        Question("subscribe", ("a", "b/*"), "alice", b'{"sub":"alice"}', "10.0.0.1", None, "http", {})
    ]


async def test_connect_narrows_a_credential_and_replaces_the_anonymous_grant() -> None:
    fixture, application = await started("connect")
    connect, answer = fixture.hub.callbacks.connect, grant(publish=["a"], operate=["metrics"])
    application.answer = Answer(True, answer)
    peer = alice(publish=["**"])
    narrowed = await connect(peer, peer.identity, peer.grant)
    assert isinstance(narrowed, NarrowedGrant)
    assert [narrowed.may("publish", topic) for topic in "ab"] == [True, False]
    assert not narrowed.may_operate("metrics")
    replaced = await connect(anonymous(), None, NOTHING)
    assert isinstance(replaced, AnonymousGrant)
    assert replaced.may_operate("metrics")
    application.answer = Answer(True)
    assert await connect(peer, peer.identity, peer.grant) is peer.grant
    assert await connect(anonymous(), None, NOTHING) is NOTHING
    application.answer = Answer(False)
    with pytest.raises(NotGranted, match="the application refused the connection"):
        await connect(anonymous(), None, NOTHING)


async def test_a_peer_that_may_authenticate_later_is_not_asked_about_yet() -> None:
    fixture, application = await started("connect")
    peer = anonymous()
    await fixture.hub.callbacks.connect_request(peer, is_asked_later=True)
    assert peer.grant is UNASKED
    assert not application.questions


@pytest.mark.parametrize("has_history", [False, True])
async def test_topics_of_an_anonymous_subscriber_are_granted_from_now_on(has_history: bool) -> None:
    fixture, application = await started("subscribe")
    fake = fixture.add()
    peer = fake.subscriber.peer
    peer.grant = grant(subscribe=["public"])
    application.answer = Answer(True, grant(subscribe=["a"], history=["a"] if has_history else []))
    if has_history:
        await fixture.hub.subscribe(fake.subscriber, ["a"], Everything())
    else:
        with pytest.raises(NotGranted, match="action history"):
            await fixture.hub.subscribe(fake.subscriber, ["a"], Everything())
        await fixture.hub.subscribe(fake.subscriber, ["a"], NOW)
    assert peer.grant.may("subscribe", "a")
    assert peer.grant.may("subscribe", "public")
    assert peer.grant.may("history", "a") is has_history
    assert not peer.grant.may("publish", "a")
    application.answer = Answer(True)
    with pytest.raises(NotGranted):
        await fixture.hub.subscribe(fake.subscriber, ["b"], NOW)


async def test_an_anonymous_peer_without_a_grant_in_the_answer_needs_a_token() -> None:
    fixture, _ = await started("subscribe", "publish")
    with pytest.raises(TokenMissing):
        await fixture.hub.queries.history(anonymous(), ["a"], NOW, 1, 1)
    with pytest.raises(TokenMissing):
        await fixture.hub.publish(anonymous(), draft("a", b"x"))


async def test_a_credential_that_is_revoked_or_narrowed_while_the_application_is_asked() -> None:
    fixture, application = await started("publish")
    application.answer = None
    peer = alice(publish=["a"])
    publishing = Deferred.fromCoroutine(fixture.hub.publish(peer, draft("a", b"x")))
    await fixture.hub.revocations.revoke(DAEMON, ("sub", "alice"))
    application.pending.pop().callback(Answer(True))
    with pytest.raises(TokenRevoked):
        await publishing
    other = Peer("http", "10.0.0.1", grant("bob", publish=["a"]), Identity("bob", NOTHING, "shop"))
    publishing = Deferred.fromCoroutine(fixture.hub.publish(other, draft("a", b"x")))
    other.grant = grant("bob", publish=["b"])
    application.pending.pop().callback(Answer(True))
    with pytest.raises(NotGranted):
        await publishing
    assert not (await fixture.hub.queries.history(DAEMON, ["**"], NOW, 9, 9)).messages


async def test_a_batch_asks_a_few_questions_at_a_time_and_one_per_channel() -> None:
    fixture, application = await started("publish")
    application.answer = None
    channels = [f"a/{number % 20}" for number in range(100)]
    publishing = Deferred.fromCoroutine(
        fixture.hub.publish_all(alice(publish=["**"]), [draft(channel, b"x") for channel in channels])
    )
    most = 0
    while application.pending:
        most = max(most, len(application.pending))
        pending = application.pending.pop(0)
        pending.callback(Answer(len(application.questions) != 20))
    receipts = await publishing
    assert most == 8
    assert len(application.questions) == 20
    assert sum(isinstance(each, Receipt) for each in receipts) in range(60, 100)
    assert {type(each) for each in receipts} == {Receipt, NotGranted}


async def test_a_batch_while_the_application_fails_is_refused_and_may_be_repeated() -> None:
    fixture, application = await started("publish")
    application.answer = CallbackUnavailable("fails", 5)
    receipts = await fixture.hub.publish_all(alice(publish=["**"]), [draft("a", b"x"), draft("b", b"x")])
    assert [(type(each), each.retry_after) for each in receipts if isinstance(each, Refusal)] == [
        (CallbackUnavailable, 5)
    ] * 2


async def test_messages_beyond_a_rate_are_not_asked_about() -> None:
    fixture, application = await started("publish")
    peer = alice(publish=["**"], quota={"messages_per_second": 1})
    outcomes = await fixture.hub.publish_all(peer, [draft(f"a/{number}", b"x") for number in range(50)])
    accepted = [each for each in outcomes if isinstance(each, Receipt)]
    assert 0 < len(accepted) < 50
    assert len(application.questions) == len(accepted)
