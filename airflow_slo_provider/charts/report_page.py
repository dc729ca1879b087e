"""One look for every HTML report: drift, golden set, latency. Self-contained files: no script, no request to anywhere.

A report is a string: :func:`page` around parts that :func:`table`, :func:`badge` and :func:`facts` make. These escape what they
are given; whoever writes HTML by hand escapes with :func:`text`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

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

#: Colours of both modes; contrast of text on its ground is 4.5:1 or more (WCAG 2.2, 1.4.3).
COLOURS = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f4f6f8; --line: #cfd6dd; --text: #17202a; --quiet: #52606d; --link: #0b5cad;
  --good: #17663a; --good-ground: #e3f4e9; --warn: #7a4b00; --warn-ground: #fdf0d5; --bad: #a3122a; --bad-ground: #fde8ea;
  --unknown: #4b3b8f; --unknown-ground: #ece9f8; --mark: #0b5cad; --focus: #0b5cad;
}
@media (prefers-color-scheme: dark) {
  :root:not([data-theme="light"]) {
    --ground: #14181d; --raised: #1e242b; --line: #3d4752; --text: #e6ebf0; --quiet: #a9b5c1; --link: #7cb8f5;
    --good: #7fd6a0; --good-ground: #12311f; --warn: #f2c46d; --warn-ground: #3a2a0a; --bad: #ff9aa6; --bad-ground: #45141c;
    --unknown: #c2b6f2; --unknown-ground: #2b2550; --mark: #7cb8f5; --focus: #7cb8f5;
  }
}
:root[data-theme="light"] { color-scheme: light; }
:root[data-theme="dark"] {
  color-scheme: dark;
  --ground: #14181d; --raised: #1e242b; --line: #3d4752; --text: #e6ebf0; --quiet: #a9b5c1; --link: #7cb8f5;
  --good: #7fd6a0; --good-ground: #12311f; --warn: #f2c46d; --warn-ground: #3a2a0a; --bad: #ff9aa6; --bad-ground: #45141c;
  --unknown: #c2b6f2; --unknown-ground: #2b2550; --mark: #7cb8f5; --focus: #7cb8f5;
}
"""

#: What reports and pages share: type, tables, badges, facts.
CSS = (
    COLOURS
    + """
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.25rem 0 0.75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 1.75rem 0 0.5rem; }
a { color: var(--link); }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; }
.quiet { color: var(--quiet); }
.scroll { overflow-x: auto; position: relative; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--quiet); padding: 0.25rem 0; }
th, td { text-align: left; padding: 0.35rem 0.6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; min-width: 5rem; }
thead th { background: var(--raised); font-weight: 600; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: break-word; min-width: 4rem; }
.badge { display: inline-block; padding: 0 0.5rem; border-radius: 0.75rem; border: 1px solid currentColor; font-weight: 600;
  white-space: nowrap; max-width: 14rem; overflow: hidden; text-overflow: ellipsis; vertical-align: bottom; }
.good { color: var(--good); background: var(--good-ground); }
.warn { color: var(--warn); background: var(--warn-ground); }
.bad { color: var(--bad); background: var(--bad-ground); }
.unknown { color: var(--unknown); background: var(--unknown-ground); }
dl.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 0.5rem 1rem; margin: 0 0 1rem; }
dl.facts div { background: var(--raised); border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.4rem 0.7rem; }
dl.facts dt { color: var(--quiet); font-size: 0.85rem; }
dl.facts dd { margin: 0; font-size: 1.1rem; overflow-wrap: anywhere; }
pre { background: var(--raised); border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.6rem; overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { body { background: none; } }
"""
)


def text(value: object) -> str:
    """Escape a value for HTML text and attributes."""
    return html.escape(str(value), quote=True)


def badge(word: str) -> str:
    """Show a verdict, status or outcome: its sign, its word, its colour."""
    sign = SIGNS.get(word, "")
    tone = TONES.get(sign, "")
    shown = text(word.replace("_", " "))
    return f'<span class="badge {tone}"><span aria-hidden="true">{sign}</span> {shown}</span>'


def facts(items: Mapping[str, object]) -> str:
    """Show a few named values beside each other."""
    inner = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in items.items())
    return f'<dl class="facts">{inner}</dl>'


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    numbers: Sequence[int] = (),
    verdicts: Sequence[int] = (),
) -> str:
    """Show rows of plain values.

    :param heads: the names of the columns
    :param rows: one sequence of values each; None is shown as a dash
    :param numbers: columns (from 0) that stand at the right
    :param verdicts: columns that hold verdicts or statuses, shown as badges
    """

    def cell(column: int, value: object) -> str:
        if value is None:
            shown = "–"
        else:
            shown = badge(str(value)) if column in verdicts else text(value)
        return f'<td class="number">{shown}</td>' if column in numbers else f"<td>{shown}</td>"

    head = "".join(
        f'<th scope="col" class="number">{text(name)}</th>' if column in numbers else f'<th scope="col">{text(name)}</th>'
        for column, name in enumerate(heads)
    )
    body = "".join(f"<tr>{''.join(cell(column, value) for column, value in enumerate(row))}</tr>" for row in rows)
    said = f"<caption>{text(caption)}</caption>" if caption else ""
    return f'<div class="scroll" tabindex="0"><table>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def section(title: str, *parts: str) -> str:
    """Put parts (HTML) under a heading."""
    return f"<section><h2>{text(title)}</h2>{''.join(parts)}</section>"


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
    said = f"<p>{text(subtitle)}</p>" if subtitle else ""
    when = f'<p class="quiet">Made {made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC</p>' if made_at else ""
    shown = f"<p>{badge(verdict)}</p>" if verdict else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Wherever the file is opened from, it loads nothing and runs nothing.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{text(title)}</title><style>{CSS}{style}</style></head>"
        f"<body><main><h1>{text(title)}</h1>{shown}{said}{when}{''.join(parts)}</main></body></html>\n"
    )
