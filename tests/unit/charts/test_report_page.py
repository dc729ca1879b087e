"""HTML that all reports share: escaping, badges, colours."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from airflow_slo_provider.charts import report_page as style

HOSTILE = "<img src=x onerror=\"alert('x')\">"


class ParsedPage(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def _report(words: str) -> str:
    return style.page(
        words,
        style.section(words, style.table([words, "x"], [[words, 1.5], [None, "fail"]], caption=words, verdicts=[1])),
        style.facts({words: words}),
        verdict="fail",
        subtitle=words,
        made_at=datetime(2026, 11, 1, 12, 30, tzinfo=UTC),
    )


def test_report_page_hostile_text_is_escaped() -> None:
    parsed, plain = ParsedPage(_report(HOSTILE)), ParsedPage(_report("words"))
    assert parsed.tags == plain.tags
    assert parsed.attributes == plain.attributes
    assert parsed.text.count(HOSTILE) == plain.text.count("words") > 5


def test_report_page_loads_no_external_resources() -> None:
    page = _report("words")
    parsed = ParsedPage(page)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(parsed.tags)
    assert not {"src", "href", "style"} & {name for name, _ in parsed.attributes}
    assert "url(" not in page
    assert "@import" not in page


def test_badge_verdict_is_readable_without_colour() -> None:
    shown = {word: ParsedPage(style.badge(word)).text for word in ("pass", "warn", "fail", "unknown")}
    assert len({text.split()[0] for text in shown.values()}) == 4
    assert all(word in text for word, text in shown.items())
    assert "else" in style.badge("something else")


def test_report_page_time_is_utc_and_naive_time_raises() -> None:
    assert "Made 2026-11-01 12:30 UTC" in _report("x")
    with pytest.raises(ValueError, match="no time zone"):
        style.page("x", made_at=datetime(2026, 11, 1))


def _luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_report_page_colours_have_enough_contrast(mode: str) -> None:
    """Contrast of 4.5:1 [WCAG 2.2, 1.4.3]."""
    block = style.CSS.split(":root {" if mode == "light" else ':root[data-theme="dark"] {')[1].split("}")[0]
    colours = dict(
        part.strip().split(": ")
        for part in block.replace("\n", " ").split(";")
        if "--" in part
        for part in [part[part.index("--") :]]
    )
    pairs = [(f"--{tone}", f"--{tone}-ground") for tone in ("good", "warn", "bad", "unknown")]
    pairs += [(f"--{word}", ground) for word in ("text", "quiet", "link") for ground in ("--ground", "--raised")]
    for front, ground in pairs:
        high, low = sorted((_luminance(colours[front]), _luminance(colours[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (front, ground)
