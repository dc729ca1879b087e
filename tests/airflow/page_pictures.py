"""Create pictures of the SLO pages for the README: ``python -m tests.airflow.page_pictures`` writes ``docs/pictures/*.svg``.

The provider records a month of checks in a ledger, and the served pages are embedded in an SVG: the
HTML and the style sheet of the page, which the reader's browser renders.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from html import escape
from html.parser import HTMLParser
from pathlib import Path

from tests.support import REPO

PICTURES = REPO / "docs" / "pictures"
#: File, page and height; the rest of the page is cut off.
SHOTS = (("overview.svg", "overview", 620), ("slo.svg", "slo?name=prices-answered", 830))
WIDTH = 1280
DAYS = 28
#: Attribute names that are lower-case in HTML but not in SVG.
_SVG_NAMES = {"viewbox": "viewBox", "preserveaspectratio": "preserveAspectRatio"}
_VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta"}

#: Name, service, target, share of bad events, and other shares by day before the end.
PROMISES: tuple[tuple[str, str, str, float, Mapping[int, float]], ...] = (
    ("prices-answered", "prices", "0.99", 0.003, {9: 0.10, 8: 0.13}),
    ("prices-fast", "prices", "0.95", 0.02, {}),
    ("churn-features-fresh", "churn", "0.95", 0.015, {3: 0.25, 2: 0.3}),
    ("churn-answered", "churn", "0.999", 0.0004, {0: 0.009}),
    ("fraud-golden-set", "fraud", "0.9", 0.02, {}),
    ("fraud-answered", "fraud", "0.999", 0.0003, {}),
)
_DOCUMENT = """
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: {name}
  annotations: {{airflow-slo/min-coverage: "0"}}
spec:
  service: {service}
  indicator:
    metadata: {{name: {name}}}
    spec:
      ratioMetric:
        good: {{metricSource: {{metricSourceRef: ledger, spec: {{check: {name}, kind: requests, events: true}}}}}}
        total: {{metricSource: {{metricSourceRef: ledger, spec: {{check: {name}, kind: requests, events: true}}}}}}
  timeWindow: [{{duration: {days}d, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{displayName: {name}, target: {target}}}]
"""


def documents() -> str:
    """Return the SLOs as OpenSLO documents."""
    services = "".join(
        f"---\napiVersion: openslo/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{}}\n"
        for name in dict.fromkeys(promise[1] for promise in PROMISES)
    )
    source = "---\napiVersion: openslo/v1\nkind: DataSource\nmetadata: {name: ledger}\nspec: {type: Ledger}\n"
    slos = (_DOCUMENT.format(name=name, service=service, target=target, days=DAYS) for name, service, target, *_ in PROMISES)
    return services + source + "".join(slos)


def live(ledger: object, now: datetime) -> None:
    """Fill the ledger with a month: requests every six hours, a gate twice a day, a new version every week."""
    from airflow_slo_provider.ledger import Ledger, RunKey
    from airflow_slo_provider.results import CheckResult
    from airflow_slo_provider.runtime.error_budget.decision import evaluate, read_documents
    from airflow_slo_provider.slo.budget.ledger_records import decision_check, slo_checks

    assert isinstance(ledger, Ledger)
    chance = random.Random(4)
    catalog = read_documents(documents())
    for step in range(4 * DAYS + 1):
        at = now - timedelta(hours=6) * (4 * DAYS - step) - timedelta(minutes=3)
        rows = []
        for name, _, _, usual, worse in PROMISES:
            share = worse.get((4 * DAYS - step) // 4, usual) * chance.uniform(0.7, 1.3)
            total = chance.randrange(20_000, 30_000)
            good = total - round(total * share)
            rows.append(CheckResult(kind="requests", name=name, verdict="pass", good=good, total=total, checked_at=at))
        ledger.record(rows, RunKey("count_requests", f"scheduled__{at:%Y-%m-%dT%H:%M}", "count"))
        if step % 2 == 0 and step > 8:
            key = RunKey("promote_nightly", f"scheduled__{at:%Y-%m-%dT%H:%M}", "gate")
            decision = evaluate(catalog, ledger=ledger, at=at + timedelta(minutes=1), exclude_key=key)
            ledger.record([*slo_checks(decision), decision_check(decision, name="promote_nightly.gate")], key)
        if step in (20, 48, 76):
            version = str(step // 28 + 4)
            promoted = CheckResult(
                kind="promote", name="prices@champion", verdict="pass", checked_at=at, model_version=version,
                message=f"champion of prices is version {version}",
            )  # fmt: skip
            ledger.record([promoted], RunKey("promote_nightly", f"scheduled__{at:%Y-%m-%dT%H:%M}", "promote"))


class _Xml(HTMLParser):
    """Converts HTML to XML without scripts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._skipping = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skipping = tag in ("script", "link", "meta", "title")
        if self._skipping:
            return
        space = [("xmlns", "http://www.w3.org/2000/svg")] if tag == "svg" else []
        given = [(_SVG_NAMES.get(name, name), name if value is None else value) for name, value in attrs]
        # A picture has no links.
        said = "".join(
            f' {name}="{escape(str(value))}"'
            for name, value in [*space, *given]
            if name not in ("href", "action") and name[:2] != "on"
        )
        self.parts.append(f"<{tag}{said}{'/' if tag in _VOID else ''}>")

    def handle_endtag(self, tag: str) -> None:
        if tag not in (*_VOID, "script", "title"):
            self.parts.append(f"</{tag}>")
        self._skipping = False

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.parts.append(escape(data, quote=False))


def picture(html: str, style: str, height: int) -> str:
    """Embed a page in an SVG.

    :param html: the complete page
    :param style: its style sheet
    """
    body = html[html.index("<body>") + len("<body>") : html.index("</body>")]
    made = _Xml()
    made.feed(body)
    made.close()
    # A README shows the picture narrow, but the page in it is wide, so rules for narrow windows are removed.
    style = re.sub(r"@media \(max-width[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", style)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">\n'
        f"<style>{escape(style, quote=False)}</style>\n"
        f'<foreignObject width="{WIDTH}" height="{height}"><body xmlns="http://www.w3.org/1999/xhtml">'
        f"{''.join(made.parts)}</body></foreignObject>\n</svg>\n"
    )


def pictures(home: Path) -> Iterator[tuple[str, str]]:
    """Yield file names and pictures.

    :param home: an empty directory for the ledger
    """
    from airflow_slo_provider.ledger import open_ledger
    from airflow_slo_provider.plugins.slo_page import PREFIX
    from tests.airflow.page_client import as_user, pages

    with open_ledger(f"sqlite:///{home / 'ledger.db'}") as ledger:
        live(ledger, datetime.now(UTC))
        with pages(ledger) as client:
            style = client.get(f"{PREFIX}/static/slo.css", headers=as_user("admin"))
            assert style.status_code == 200, style.text
            for file, page, height in SHOTS:
                answer = client.get(f"{PREFIX}/{page}", headers=as_user("admin"))
                assert answer.status_code == 200, answer.text
                yield file, picture(answer.text, style.text, height)


if __name__ == "__main__":
    import tests.conftest  # noqa: F401  a home of its own for Airflow

    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for file, text in pictures(Path(scratch)):
            (PICTURES / file).write_text(text)
            print(f"{PICTURES / file}: {len(text):,} characters")
