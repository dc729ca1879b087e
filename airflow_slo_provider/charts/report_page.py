"""One look for every HTML report: drift, golden set, latency. Self-contained files: no script, no request to anywhere.

A report is a string: :func:`page` around parts that :func:`table`, :func:`badge` and :func:`facts` make. These escape what they
are given, unless :func:`~airflow_slo_provider.charts.markup.tag` made it; whoever writes HTML by hand escapes with :func:`text`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files

from airflow_slo_provider.charts.markup import Html, tag, text

__all__ = ["CSS", "SIGNS", "TONES", "badge", "facts", "page", "section", "table", "text"]

#: What a verdict or status looks like: a sign beside the word, so that nobody needs the colour.
SIGNS: Mapping[str, str] = {
    "pass": "✓",
    "warn": "▲",
    "fail": "✕",
    "unknown": "?",
    "HEALTHY": "✓",
    "WARNING": "▲",
    "LOW_TRAFFIC": "▽",
    "BURNING": "▲",
    "EXHAUSTED": "✕",
    "NO_DATA": "?",
    "QUERY_ERROR": "?",
    "allowed": "✓",
    "warning": "▲",
    "frozen": "✕",
    "inconclusive": "?",
    "ok": "✓",
    "drift": "✕",
    "schema_change": "✕",
    "insufficient_data": "?",
    "error": "?",
    "skipped": "▽",
}
TONES: Mapping[str, str] = {"✓": "good", "▲": "warn", "▽": "warn", "✕": "bad", "?": "unknown"}

#: What reports and pages share: colours of both modes, type, tables, badges, facts, charts.
CSS = files(__package__).joinpath("style.css").read_text(encoding="utf-8")


def badge(word: object) -> Html:
    """Show a verdict, status or outcome: its sign, its word, its colour."""
    sign = SIGNS.get(str(word), "•")
    return tag(
        "span", tag("span", sign, aria_hidden="true"), " ", str(word).replace("_", " "), class_=f"badge {TONES.get(sign, '')}"
    )


def facts(items: Mapping[str, object]) -> Html:
    """Show a few named values beside each other."""
    shown = (tag("div", tag("dt", name), tag("dd", value)) for name, value in items.items())
    return tag("dl", *shown, class_="facts")


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    numbers: Collection[int] = (),
    verdicts: Collection[int] = (),
) -> Html:
    """Show rows of values.

    :param heads: the names of the columns
    :param rows: one sequence of values each: plain ones, or markup; None is shown as a dash
    :param numbers: columns (from 0) that stand at the right
    :param verdicts: columns that hold verdicts or statuses, shown as badges
    """

    def cell(column: int, value: object) -> Html:
        shown = "–" if value is None else badge(value) if column in verdicts and value != "" else value
        return tag("td", shown, class_="number" if column in numbers else None)

    head = tag(
        "tr", *(tag("th", name, scope="col", class_="number" if column in numbers else None) for column, name in enumerate(heads))
    )
    body = (tag("tr", *(cell(column, value) for column, value in enumerate(row))) for row in rows)
    said = tag("caption", caption) if caption else ""
    return tag("div", tag("table", said, tag("thead", head), tag("tbody", *body)), class_="scroll", tabindex=0)


def section(title: str, *parts: str) -> Html:
    """Put parts (HTML) under a heading."""
    return tag("section", tag("h2", title), Html("".join(parts)))


def page(
    title: str, *parts: str, verdict: str | None = None, subtitle: str = "", made_at: datetime | None = None, style: str = ""
) -> str:
    """Return a whole report: one HTML file that needs nothing beside it.

    :param title: what it is about
    :param parts: its body, HTML made by the functions of this module
    :param verdict: how it ended: ``pass``, ``warn``, ``fail`` or ``unknown``
    :param subtitle: one sentence below the title
    :param made_at: when (aware); shown in UTC
    :param style: more CSS, for what only this report has
    :raises ValueError: for a naive ``made_at``
    """
    if made_at is not None and made_at.tzinfo is None:
        raise ValueError(f"made_at {made_at} has no time zone")
    said = tag("p", subtitle) if subtitle else ""
    when = tag("p", f"Made {made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC", class_="quiet") if made_at else ""
    shown = tag("p", badge(verdict)) if verdict else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Wherever the file is opened from, it loads nothing and runs nothing.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"{tag('title', title)}<style>{CSS}{style}</style></head>"
        f"<body><main>{tag('h1', title)}{shown}{said}{when}{''.join(parts)}</main></body></html>\n"
    )
