"""Tables, for the terminal and in Markdown, and the page with its plot."""

from xml.etree import ElementTree

from bench import page, report
from bench.cases import CASES
from bench.cases.interface import Scale
from bench.figures import Figures
from bench.goals import goals
from bench.plot import plot


def figures_of_one():
    figures = Figures(deliveries=1234)
    figures.add("one", "pushd SSE", {"paced": 9.123, "back_to_back": 8, "rate": 61234})
    figures.add("one", "C loop", {"paced": 8, "rate": 70000})
    return figures


def test_table_has_a_row_per_scenario_and_dashes():
    head, *rows = report.measured(figures_of_one(), CASES["one"])
    assert head[1:] == [column.heading for column in CASES["one"].columns]
    assert rows == [["pushd SSE", "9.12", "8.00", "61,234"], ["C loop", "8.00", "–", "70,000"]]


def test_names_align_left_and_numbers_right():
    table = [["", "µs"], ["long name", "1.0"], ["b", "10.0"]]
    assert report.columns(table).splitlines() == ["             µs", "long name   1.0", "b          10.0"]


def test_markdown_has_a_header_rule():
    assert report.markdown([["", "µs"], ["a", "1"]]) == "|  | µs |\n| --- | ---: |\n| a | 1 |"


def test_text_has_figures_goals_and_faults():
    figures = figures_of_one()
    figures.add_faults("pushd SSE", {"lost": 2, "duplicated": 1})
    figures.notes.append("NATS is omitted: nats-server is not installed.")
    text = report.as_text(figures, goals(figures))
    assert "of the C loop's     1.14  at most 1.25  met" in text
    assert "1,234 deliveries were checked, and some were wrong:\n\n- pushd SSE: 2 lost, 1 duplicated." in text
    assert "NATS is omitted" in text


def test_report_states_that_there_were_no_faults():
    assert report.faults(figures_of_one()).startswith("1,234 deliveries were checked: all arrived")


def test_page_has_command_machine_and_plot(tmp_path):
    figures = figures_of_one()
    path = tmp_path / "benchmarks.md"
    page.write(path, figures, goals(figures), [("kernel", "Linux 6.1")], Scale(rounds=5), "python -m bench --out x")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Benchmarks\n")
    assert "`python -m bench --out x`" in text
    assert "| kernel | Linux 6.1 |" in text
    assert "](benchmarks.svg)" in text
    assert CASES["one"].title in text and CASES["burst"].title not in text
    assert (tmp_path / "benchmarks.svg").exists()


def test_plot_has_proportional_bars():
    root = ElementTree.fromstring(plot(figures_of_one()))
    bars = list(root.iter("{http://www.w3.org/2000/svg}rect"))[1:]
    assert len(bars) == 2
    assert int(bars[0].attrib["width"]) > int(bars[1].attrib["width"])
