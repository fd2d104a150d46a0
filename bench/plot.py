"""A plot of the figures: horizontal bars, as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bench.figures import Figures

_WIDTH, _NAMES, _BARS = 860, 150, 610
_ROW, _HEAD, _GAP = 20, 34, 16
_OURS, _LOOPS, _OTHERS = "#2563eb", "#9ca3af", "#d97706"
_FONT = "font-family='system-ui, sans-serif'"


@dataclass(frozen=True)
class Chart:
    """One figure of a case, for all rows."""

    case: str
    key: str
    title: str
    digits: int


CHARTS = (
    Chart("one", "paced", "One message at a time: CPU µs per delivery (less is better)", 1),
    Chart("burst", "per_cpu", "Bursts of 100 messages: deliveries per CPU second (more is better)", 0),
    Chart("latency", "p99", "100 messages a second: 99th percentile of latency in ms (less is better)", 1),
    Chart("idle", "kib", "Memory of an idle subscriber in KiB (less is better)", 1),
    Chart("handshake", "micros", "A new subscriber: CPU µs (less is better)", 0),
    Chart("publish", "micros", "A publish without subscribers: CPU µs (less is better)", 1),
)


def plot(figures: Figures, charts: Sequence[Chart] = CHARTS) -> str:
    """Return an SVG with the charts for which there are figures, one below the other."""
    parts: list[str] = []
    top = _GAP
    for chart in charts:
        bars = _bars(figures, chart)
        if bars:
            parts += _draw(chart, bars, top)
            top += _HEAD + _ROW * len(bars) + _GAP
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {top}' width='{_WIDTH}' height='{top}'>"
    return "\n".join([head, f"<rect width='{_WIDTH}' height='{top}' fill='#ffffff'/>", *parts, "</svg>"]) + "\n"


def _bars(figures: Figures, chart: Chart) -> list[tuple[str, float]]:
    medians = ((row, figures.median(chart.case, row, chart.key)) for row in figures.rounds.get(chart.case, {}))
    return [(row, value) for row, value in medians if value is not None]


def _draw(chart: Chart, bars: Sequence[tuple[str, float]], top: int) -> list[str]:
    limit = max(value for _, value in bars) or 1
    parts = [_text(8, top + 18, chart.title, weight="600")]
    for number, (row, value) in enumerate(bars):
        y = top + _HEAD + _ROW * number
        width = max(1, round(_BARS * max(value, 0) / limit))
        parts.append(_text(_NAMES - 8, y + 11, row, anchor="end"))
        parts.append(f"<rect x='{_NAMES}' y='{y}' width='{width}' height='{_ROW - 6}' fill='{_colour(row)}'/>")
        parts.append(_text(_NAMES + width + 6, y + 11, f"{value:,.{chart.digits}f}"))
    return parts


def _colour(row: str) -> str:
    return _OURS if row.startswith("pushd") else _LOOPS if row.endswith("loop") else _OTHERS


def _text(x: int, y: int, text: str, *, anchor: str = "start", weight: str = "400") -> str:
    style = f"font-size='12' font-weight='{weight}' text-anchor='{anchor}' fill='#111827'"
    return f"<text x='{x}' y='{y}' {_FONT} {style}>{escape(text)}</text>"
