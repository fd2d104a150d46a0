"""Wrong usage of `pushctl` is answered with what was probably meant."""

import pytest

from pushd.ctl.command_line import build_parser


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pub", "demo", "hello", "--evnt", "x"], "pushctl pub: error: unknown option --evnt: did you mean --event?"),
        (["sub", "demo", "--sinse=all"], "pushctl sub: error: unknown option --sinse: did you mean --since?"),
        (["token", "list", "--fiel", "x"], "pushctl token list: error: unknown option --fiel: did you mean --file?"),
        (["--ulr", "http://x", "health"], "unknown option --ulr: did you mean --url?"),
        (["sub", "demo", "--zzzzzz"], "pushctl sub: error: unknown option --zzzzzz\n"),
        (["pbu", "demo", "x"], ": did you mean pub?"),
        (["sub", "demo", "--transport", "websoket"], ": did you mean websocket?"),
    ],
)
def test_near_miss_gets_a_suggestion(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_known_args(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_word_after_options_is_left_for_the_text_of_a_message() -> None:
    _, extra = build_parser().parse_known_args(["pub", "demo", "--event", "x", "hello"])
    assert extra in ([], ["hello"])
