"""Reports of whom nobody trusts: a name in a trace, a segment of a golden set, a model version are text, and nothing else."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from airflow_slo_provider import tracing
from airflow_slo_provider.evaluation.metrics.metric_names import find_metrics
from airflow_slo_provider.evaluation.report.html import to_html as model_report
from airflow_slo_provider.evaluation.verdict.assessment import EvaluationPlan
from airflow_slo_provider.evaluation.verdict.assessment import assess as assess_model
from airflow_slo_provider.evaluation.verdict.segments import SegmentRule
from airflow_slo_provider.evaluation.verdict.thresholds import Threshold
from airflow_slo_provider.tracing.analysis.assessment import LatencyRules
from airflow_slo_provider.tracing.analysis.assessment import assess as assess_latency
from airflow_slo_provider.tracing.report.html import to_html as latency_report
from tests.unit.evaluation.builders import frame, golden, make_predictions
from tests.unit.tracing.builders import span

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "</text></svg><iframe src=javascript:alert(1)>",
    "javascript:alert(1)",
    "--><b>x</b><!--",
    "]]><a href=javascript:alert(1)>x</a>",
    "</style><style>*{background:url(//evil.example)}",
    "{{ 7 * 7 }}",
]
#: What a report is made of; anything else came from a text.
_TAGS = frozenset(
    re.findall(
        r"\w+",
        """html head meta title style body main h1 h2 h3 p b span div dl dt dd table caption thead tbody tr th td code pre ul li
        strong section br figure figcaption svg g rect text line path polyline circle details summary small em i tspan polygon""",
    )
)


class Page(HTMLParser):
    """What a browser sees."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def check(self) -> None:
        for tag, attributes in self.tags:
            assert tag in _TAGS, (tag, attributes)
            for name, value in attributes.items():
                assert not name.startswith("on") and name not in ("href", "src", "autofocus", "action"), (tag, name, value)
                assert name != "style" or "url(" not in (value or "").lower(), value
        assert [one[1].get("http-equiv") for one in self.tags if one[0] == "meta"].count("Content-Security-Policy") == 1


def test_search_finds_unescaped_markup() -> None:
    for bad in HOSTILE[:2]:
        with pytest.raises(AssertionError):
            Page(f"<p>{bad}</p>").check()


@pytest.mark.parametrize("evil", HOSTILE)
def test_latency_report_escapes_hostile_names(evil: str) -> None:
    spans = [
        span(
            evil if number else "r", number, 40 - number, "0" if number else None, key=str(number), trace=f"{version}{turn}",
            version=version, error=number % 2 == 0, service=evil,
        )
        for turn, version, number in itertools.product(range(30), (evil, f"{evil}2"), range(4))
    ]  # fmt: skip
    found = tracing.breakdown(spans)
    html = latency_report(assess_latency(found, LatencyRules(fewest=1), service=evil, comparison=tracing.compare(found)), evil)
    Page(html).check()
    assert evil.strip() in Page(html).text


@pytest.mark.parametrize("evil", HOSTILE)
def test_golden_set_report_escapes_hostile_names(evil: str) -> None:
    """Segments, labels and what the model says are all somebody's text."""
    rows = frame(400)
    rows["region"] = np.where(np.arange(400) % 2 == 0, evil, f"{evil}2")
    rows["label"] = np.where(rows["label"] == 1, evil, f"{evil}2")
    asked = EvaluationPlan(
        metrics=find_metrics(["accuracy"]), thresholds={"accuracy": Threshold(0.5)}, replicates=100, slices=SegmentRule()
    )
    html = model_report(assess_model(asked, golden(rows), make_predictions(rows, rows["label"])), evil)
    Page(html).check()
    assert evil.strip() in Page(html).text
