"""The file of sessions."""

from twisted.internet.task import Clock

from pushd.dialects.bayeux import session_journal
from pushd.dialects.bayeux.session_journal import SessionJournal, line_of


def opened(path, clock=None):
    """Return a journal, and the states that it has."""
    journal = SessionJournal(path, clock or Clock())
    return journal, journal.open()


def test_last_state_of_each_key_counts(tmp_path):
    journal, states = opened(tmp_path / "file")
    assert states == {}
    for key, state in (("k", b'{"n":1}'), ("l", b"{}"), ("k", b'{"n":2}'), ("l", None)):
        journal.append(key, state)
    assert opened(tmp_path / "file")[1] == {"k": b'{"n":2}'}
    journal.close()
    journal.append("m", b"{}")
    assert (tmp_path / "file").read_bytes() == line_of("k", b'{"n":2}')


def test_line_without_its_end_is_ignored(tmp_path):
    (tmp_path / "file").write_bytes(b'k {"n":1}\nl {"n":2}\nk {"n"')
    journal, states = opened(tmp_path / "file")
    assert states == {"k": b'{"n":1}', "l": b'{"n":2}'}
    journal.append("m", b"{}")
    assert opened(tmp_path / "file")[1].keys() == {"k", "l", "m"}


def test_file_that_cannot_be_written_is_reported_and_ignored(tmp_path):
    journal, states = opened(tmp_path / "none" / "file")
    assert states == {}
    journal.append("k", b"{}")
    journal.rewrite(iter([line_of("k", b"{}")]))
    assert not list(tmp_path.iterdir())


def test_file_that_has_grown_is_rewritten_while_it_is_appended_to(tmp_path, monkeypatch):
    monkeypatch.setattr(session_journal, "_MIN_REWRITTEN", 100)
    clock = Clock()
    journal, _ = opened(tmp_path / "file", clock)
    states = {}
    for number in range(1000):
        key = f"k{number % 50}"
        journal.append(key, b'{"n":%d}' % number)
        states[key] = b'{"n":%d}' % number
        if journal.needs_rewrite:
            journal.rewrite(line_of(each, states[each]) for each in list(states) if each in states)
        if number == 900:
            journal.append("k3", None)
            del states["k3"]
        if number % 10 == 0:
            clock.advance(0.01)
    clock.pump([0.01] * 1000)
    assert opened(tmp_path / "file")[1] == states
    assert (tmp_path / "file").stat().st_size < 2 * sum(len(line_of(*each)) for each in states.items())
    assert not (tmp_path / "file.new").exists()
