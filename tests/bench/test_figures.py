"""Medians over rounds, and quotients within them."""

from bench.figures import Figures


def of(**rows):
    figures = Figures()
    for row, values in rows.items():
        for value in values:
            figures.add("one", row, {"micros": value})
    return figures


def test_median_is_over_all_rounds():
    assert of(a=[3, 1, 100]).median("one", "a", "micros") == 3


def test_missing_figures_have_no_median():
    figures = of(a=[1])
    assert figures.median("one", "b", "micros") is None
    assert figures.median("one", "a", "rate") is None
    assert figures.median("two", "a", "micros") is None


def test_quotient_is_taken_per_round_before_the_median():
    # A busy machine in round two makes both slow, and their quotient stays what it was.
    assert of(a=[2, 20, 2], b=[1, 10, 1]).quotient("one", "micros", "a", "b") == 2


def test_quotient_of_two_different_figures():
    figures = Figures()
    figures.add("fan-out", "a", {"net": 6})
    figures.add("fan-out", "b", {"micros": 3})
    assert figures.quotient("fan-out", "net", "a", "b", by_key="micros") == 2


def test_quotient_needs_both_figures():
    assert of(a=[1]).quotient("one", "micros", "a", "b") is None
    assert of(a=[1], b=[0]).quotient("one", "micros", "a", "b") is None


def test_faults_are_added_and_zeros_omitted():
    figures = Figures()
    figures.add_faults("a", {"lost": 2, "closed": 0})
    figures.add_faults("a", {"lost": 1})
    figures.add_faults("b", {"lost": 0})
    assert figures.faults == {"a": {"lost": 3}}
