"""Authorization: the checks of all calls of the hub, by the grant of the peer."""

from collections.abc import Callable, Generator, Iterable, Sequence

from pushd.core.answered_grant import AnonymousGrant
from pushd.core.cursor import Now, Since
from pushd.core.errors import NotGranted, Refusal, TokenMissing
from pushd.core.grant import Action, Operation
from pushd.core.message import Draft
from pushd.core.names import is_reply
from pushd.core.peer import Peer
from pushd.core.subscriber import Subscriber


def check_topics(peer: Peer, action: Action, topics: Iterable[str]) -> None:
    """Check an action on topics.

    :raises NotGranted: when it is not allowed on one of them; the text names the first.
    :raises TokenMissing: instead, when the peer has no credential, and the application has not answered its grant.
    """
    grant = peer.grant
    if grant.is_full:
        return
    for topic in topics:
        if not grant.may(action, topic):
            _check_answered(peer, f"action {action} on topic {topic}", action, topic)
            grant.check(action, topic)


def check_subscribe(peer: Peer, topics: Sequence[str], since: Since) -> None:
    """Check a subscription; one with a cursor reads the history, too.

    :raises NotGranted: when it is not allowed on one of the topics; the text names the first.
    """
    for action in actions_of(since):
        check_topics(peer, action, topics)


def actions_of(since: Since) -> tuple[Action, ...]:
    """Return the actions of a subscription; one with a cursor reads the history, too."""
    return ("subscribe",) if isinstance(since, Now) else ("subscribe", "history")


def check_operation(peer: Peer, operation: Operation) -> None:
    """Check an operation on the daemon.

    :raises NotGranted: when it is not allowed.
    :raises TokenMissing: instead, when the peer has no credential.
    """
    if not peer.grant.may_operate(operation):
        _check_answered(peer, f"operation {operation}", "operate", operation)
        raise NotGranted(f"operation {operation} is not granted", "operate", operation)


def check_credential(peer: Peer, what: str) -> None:
    """Check that a peer has a credential, or that something is allowed without one.

    :param what: what needs it, for the refusal.
    :raises TokenMissing: when the peer may only authenticate.
    """
    if peer.needs_credential:
        raise TokenMissing(f"{what} needs a token")


def granted(peer: Peer, drafts: Iterable[Draft | Refusal]) -> Iterable[Draft | Refusal]:
    """Return drafts, with a refusal in the place of each that the peer may not publish.

    Whether it may publish a reply depends on the channel of the request; see `pushd.hub.requests`.
    """
    return drafts if peer.grant.is_full else (_granted(peer, draft) for draft in drafts)


def renewals(
    subscribers: Iterable[Subscriber],
    renew: Callable[[Peer], None],
    disconnect: Callable[[Subscriber, Exception], None],
    on_renewed: Callable[[Subscriber], None] = lambda subscriber: None,
) -> Generator[None, None, None]:
    """Renew the grants of some subscribers in steps, one for each; disconnect those to whom one of their topics is not
    granted any more, and those without a credential to whom nothing is granted any more.

    :param renew: sets the grant of a peer, or raises a refusal, with which the peer is disconnected.
    :param on_renewed: called with each subscriber that stays connected.
    """
    for subscriber in subscribers:
        try:
            _renew(subscriber, renew)
            on_renewed(subscriber)
        except Exception as cause:  # a refusal, or a bug, which must not keep the connections of others open
            disconnect(subscriber, cause)
        yield


def lost_topics(subscriber: Subscriber) -> dict[str, NotGranted]:
    """Return the topics of a subscriber that are not granted to its peer any more, each with the refusal."""
    grant = subscriber.peer.grant
    if grant.is_full:
        return {}
    catch_up = subscriber.catch_up
    replayed = catch_up.topics if catch_up is not None and catch_up.reads_history else {}
    lost: dict[str, NotGranted] = {}
    for topic in subscriber.starts:
        actions: tuple[Action, ...] = ("subscribe", "history") if topic in replayed else ("subscribe",)
        for action in actions:
            if not grant.may(action, topic):
                lost[topic] = NotGranted(f"action {action} on topic {topic} is not granted any more", action, topic)
                break
    return lost


def _renew(subscriber: Subscriber, renew: Callable[[Peer], None]) -> None:
    """Renew the grant of a subscriber.

    :raises NotGranted: when one of its topics is not granted any more.
    :raises TokenMissing: instead, when its peer has no credential, or when nothing is granted without one any more.
    """
    peer = subscriber.peer
    had_time = peer.needs_credential  # its deadline is running
    renew(peer)
    if peer.needs_credential and not had_time:
        raise TokenMissing("nothing is allowed any more without a token")
    for topic, refusal in lost_topics(subscriber).items():
        _check_answered(peer, f"topic {topic}", refusal.action, topic)
        raise refusal


def _granted(peer: Peer, draft: Draft | Refusal) -> Draft | Refusal:
    try:
        if not (isinstance(draft, Refusal) or is_reply(draft.channel)):
            check_topics(peer, "publish", (draft.channel,))
    except (NotGranted, TokenMissing) as refusal:
        return refusal.without_traceback()
    return draft


def check_authenticated(peer: Peer, what: str, action: str | None = None, topic: str | None = None) -> None:
    """Check that a peer has a credential, or that authentication is off.

    :param what: what needs it, for the text of the refusal.
    :param action, topic: see `AccessRefused`.
    :raises TokenMissing: when it has none.
    """
    if peer.identity is None and peer.grant.subject is None and not peer.grant.is_full:
        raise TokenMissing(f"{what} needs a token", action, topic)


def _check_answered(peer: Peer, what: str, action: str | None, topic: str | None) -> None:
    """Check that a peer has a credential, as `check_authenticated` does, or that the application has answered its
    grant: a token would not help it then.
    """
    if not isinstance(peer.grant, AnonymousGrant):
        check_authenticated(peer, what, action, topic)
