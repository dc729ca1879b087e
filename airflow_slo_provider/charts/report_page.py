"""Build HTML report pages: drift, golden set, latency. Self-contained files: no scripts, no network requests.

A report is a string: :func:`page` around parts that :func:`table`, :func:`badge` and :func:`facts` return. These functions
escape their arguments, except markup of :func:`~airflow_slo_provider.charts.markup.tag`; HTML written by hand must be escaped
with :func:`text`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files

from airflow_slo_provider.charts.markup import Html, tag, text

__all__ = ["CSS", "SIGNS", "TONES", "badge", "facts", "page", "section", "table", "text"]

#: The symbol of each verdict or status, shown beside the word so that the colour is not needed.
SIGNS: Mapping[str, str] = {
    **dict.fromkeys(("pass", "HEALTHY", "allowed", "ok"), "✓"),
    **dict.fromkeys(("warn", "WARNING", "BURNING", "warning"), "▲"),
    **dict.fromkeys(("LOW_TRAFFIC", "skipped"), "▽"),
    **dict.fromkeys(("fail", "EXHAUSTED", "frozen", "drift", "schema_change"), "✕"),
    **dict.fromkeys(("unknown", "NO_DATA", "QUERY_ERROR", "inconclusive", "insufficient_data", "error"), "?"),
}
TONES: Mapping[str, str] = {"✓": "good", "▲": "warn", "▽": "warn", "✕": "bad", "?": "unknown"}

#: CSS shared by reports and pages: light and dark colours, type, tables, badges, facts, charts.
CSS = files(__package__).joinpath("style.css").read_text(encoding="utf-8")


def badge(word: object) -> Html:
    """Show a verdict, status or outcome with its symbol, word and colour.

    :param word: the verdict, status or outcome
    """
    sign = SIGNS.get(str(word), "•")
    inner = tag("span", sign, aria_hidden="true"), " ", str(word).replace("_", " ")
    return tag("span", *inner, class_=f"badge {TONES.get(sign, '')}")


def facts(items: Mapping[str, object]) -> Html:
    """Show named values side by side.

    :param items: the values by name
    """
    pairs = (tag("div", tag("dt", name), tag("dd", value)) for name, value in items.items())
    return tag("dl", *pairs, class_="facts")


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    numbers: Collection[int] = (),
    verdicts: Collection[int] = (),
) -> Html:
    """Show rows of values as a table.

    :param heads: the names of the columns
    :param rows: one sequence of values per row: plain values, or markup; None is shown as a dash
    :param numbers: indexes (from 0) of columns that are right-aligned
    :param verdicts: indexes of columns whose verdicts or statuses are shown as badges
    :param caption: text above the table
    """

    def cell(column: int, value: object) -> Html:
        shown = "–" if value is None else badge(value) if column in verdicts and value != "" else value
        return tag("td", shown, class_="number" if column in numbers else None)

    kinds = ("number" if column in numbers else None for column in range(len(heads)))
    head = tag("tr", *(tag("th", name, scope="col", class_=kind) for name, kind in zip(heads, kinds, strict=True)))
    body = (tag("tr", *(cell(column, value) for column, value in enumerate(row))) for row in rows)
    title = tag("caption", caption) if caption else ""
    return tag("div", tag("table", title, tag("thead", head), tag("tbody", *body)), class_="scroll", tabindex=0)


def section(title: str, *parts: str) -> Html:
    """Put parts (HTML) under a heading.

    :param title: the heading
    :param parts: HTML made by the functions of this module
    """
    return tag("section", tag("h2", title), Html("".join(parts)))


def page(
    title: str, *parts: str, verdict: str | None = None, subtitle: str = "", made_at: datetime | None = None, style: str = ""
) -> str:
    """Return a complete report as one self-contained HTML file.

    :param title: title of the report
    :param parts: its body, HTML made by the functions of this module
    :param verdict: the verdict: ``pass``, ``warn``, ``fail`` or ``unknown``
    :param subtitle: one sentence below the title
    :param made_at: when the report was made (aware); shown in UTC, if set
    :param style: further CSS of this report
    :raises ValueError: for a naive ``made_at``
    """
    if made_at is not None and made_at.tzinfo is None:
        raise ValueError(f"made_at {made_at} has no time zone")
    below = tag("p", subtitle) if subtitle else ""
    when = tag("p", f"Made {made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC", class_="quiet") if made_at else ""
    sign = tag("p", badge(verdict)) if verdict else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The file loads nothing and runs nothing, wherever it is opened.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"{tag('title', title)}<style>{CSS}{style}</style></head>"
        f"<body><main>{tag('h1', title)}{sign}{below}{when}{''.join(parts)}</main></body></html>\n"
    )
