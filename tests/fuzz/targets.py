"""The fuzz targets: properties of the parsers and encoders, by a short name.

Each is a Hypothesis test of its module, and derives its example from any bytes.
"""

from collections.abc import Callable
from typing import Any

from tests.core import test_cursor, test_message, test_names
from tests.dialects import test_session_requests
from tests.dialects.bayeux import test_envelope as test_bayeux_envelope
from tests.dialects.bayeux import test_wire as test_bayeux_wire
from tests.dialects.comet4j import test_wire as test_comet4j_wire
from tests.dialects.pushlet import test_events as test_pushlet_events
from tests.http import test_query
from tests.transports import test_negotiation, test_websocket_reader
from tests.wire import (
    test_json_messages,
    test_line_commands,
    test_no_forging,
    test_publication,
    test_text_lines,
    test_websocket_commands,
)

TARGETS: dict[str, Any] = {
    "names": test_names.test_any_text_is_a_topic_or_refused,
    "patterns": test_names.test_topic_matches_like_its_regular_expression,
    "cursors": test_cursor.test_any_text_is_parsed_or_refused,
    "types": test_message.test_accepted_types_and_events_fit_into_a_line,
    "query": test_query.test_any_query_is_parsed_or_refused,
    "accept": test_negotiation.test_any_accept_selects_a_transport,
    "frames": test_websocket_reader.test_any_input_is_parsed_alike_for_any_segmentation,
    "publications": test_publication.test_any_input_is_accepted_or_refused,
    "lines": test_line_commands.test_any_line_is_parsed_or_refused_in_one_line,
    "publishing": test_line_commands.test_publish_lines_are_parsed_the_same_by_both_parsers,
    "escapes": test_text_lines.test_any_bytes_round_trip_through_escaping,
    "commands": test_websocket_commands.test_any_text_is_parsed_or_refused_with_its_ref,
    "json": test_json_messages.test_accepted_json_is_valid_inside_json,
    "sse": test_no_forging.test_server_sent_events,
    "sse-json": test_no_forging.test_server_sent_events_of_json,
    "ndjson": test_no_forging.test_lines_of_json,
    "text": test_no_forging.test_lines_of_text,
    "mixed": test_no_forging.test_mixed_parts,
    "replace": test_no_forging.test_replace_parts,
    "chunked": test_no_forging.test_chunks,
    "websocket": test_no_forging.test_websocket_data_frames,
    "bayeux": test_bayeux_envelope.test_any_envelope_is_parsed_or_refused,
    "bayeux-forms": test_bayeux_envelope.test_any_form_is_parsed_or_refused,
    "comet4j-requests": test_session_requests.test_any_requests_of_comet4j_are_answered,
    "pushlet-requests": test_session_requests.test_any_requests_of_pushlet_are_answered,
    "comet4j": test_comet4j_wire.test_no_data_forges_a_message,
    "pushlet": test_pushlet_events.test_no_data_forges_an_event,
    "bayeux-wire": test_bayeux_wire.test_no_data_forges_a_message,
    "websocket-json": test_no_forging.test_websocket_frames_of_json,
}


def fuzz_function(name: str) -> Callable[[bytes], bytes | None]:
    """Return the function that runs a target with some bytes, and raises an exception when its property does not hold.

    It returns the bytes that it used for its example, or None if the bytes do not make a valid one.
    """
    run: Callable[[bytes], bytes | None] = TARGETS[name].hypothesis.fuzz_one_input
    return run
