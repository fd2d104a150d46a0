"""Events of hooks as JSON."""

import json

from pushd.core.message import JSON, Message
from pushd.wire.hook_events import dead_letter_draft, publish_event


def test_event_of_a_publish_has_the_id_of_the_message_or_all_of_it() -> None:
    message = Message("E", 5, "E-3", "a/b", 12.5, b'{"x": 1}', JSON, "json", "e")
    facts = {"id": "E-5-h", "type": "publish", "channel": "a/b", "time": 12.5}
    assert json.loads(publish_event("h", "E-5", "a/b", 12.5)) == facts | {"message": {"id": "E-5"}}
    shown = {"id": "E-5", "prev": "E-3", "channel": "a/b", "time": 12.5, "event": "e", "content_type": JSON}
    expected = facts | {"message": shown | {"data": {"x": 1}}}
    assert json.loads(publish_event("h", "E-5", "a/b", 12.5, message)) == expected


def test_dead_letter_has_the_event_and_the_reason() -> None:
    draft = dead_letter_draft("h", "410 Gone", b'{"id":"E-5-h"}')
    assert (draft.channel, draft.content_type, draft.encoding) == ("$hooks/dead/h", JSON, "json")
    assert json.loads(draft.data) == {"reason": "410 Gone", "event": {"id": "E-5-h"}}
