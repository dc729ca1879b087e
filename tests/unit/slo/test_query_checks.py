"""Reading a document finds each query that a gate always refuses, with the line of the query."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from airflow_slo_provider.slo import load, read
from airflow_slo_provider.slo.model import RatioMetric
from airflow_slo_provider.slo.promql.query_roles import read_metric
from tests.unit.slo.documents import (
    INDICATOR_TEXT,
    INLINE,
    SERVICE_TEXT,
    SLO_TEXT,
    annotated,
    changed,
    faults,
    joined,
    ratio_document,
    warnings,
)
from tests.unit.slo.promql_forms import FORMS
from tests.unit.slo.test_slo_generator import TEXT as SLO_GENERATOR
from tests.unit.slo.test_sloth import KUBERNETES

BAD, TOTAL = "sum(increase(errors_total[{{.window}}]))", "sum(increase(requests_total[{{.window}}]))"
#: MetricsQL: a window that is not named, and a default value.
METRICSQL = "sum(increase(errors_total[{{.window}}])) default 0"
DECLARED = 'airflow-slo/counts: "events"'
SLI_TEXT = "apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: answered}\n" + dedent(INLINE[INLINE.index("    spec:") :])


@pytest.mark.parametrize(("queries", "kind", "text"), [row[1:] for row in FORMS], ids=[row[0] for row in FORMS])
def test_document_of_each_form_is_read_as_specified(queries: dict[str, str], kind: str, text: str) -> None:
    found = faults(ratio_document(queries))
    if kind:
        assert found == []
    else:
        assert 1 <= len(found) <= len(queries)
        assert text.split(": ", 1)[-1] in found[0]
        assert all("SLO/checkout spec.indicator.spec.ratioMetric." in fault for fault in found)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("sum(rate(errors_total[5m]))", "no {{.window}} in 'sum(rate(errors_total[5m]))'; write it as the range, e.g. sum("),
        ("sum(rate(errors_total[{{.window}}])", "the query cannot be read: "),
        ("avg(rate(errors_total[{{.window}}]))", "avg() does not count the events of all series"),
        ("errors_total + 1", "no {{.window}} in 'errors_total + 1'"),
    ],
)
def test_refused_query_is_an_error_at_its_line(bad: str, message: str) -> None:
    text = changed(SLO_TEXT, 'sum(requests_total{code!~"5.."})', f"'{bad}'")
    line = next(number for number, line in enumerate(text.splitlines(), start=1) if bad in line)
    (fault,) = faults(joined(text, SERVICE_TEXT))
    assert fault.startswith(f"<text>:{line}: SLO/checkout spec.indicator.spec.ratioMetric.good.metricSource.spec.query: ")
    assert message in fault


def test_both_queries_are_checked() -> None:
    found = faults(
        ratio_document({"bad": "sum(rate(e_total[5m]))", "total": "sum(rate(r_total[{{.window}}])"}, annotation=DECLARED)
    )
    (fault,) = found
    assert "bad.metricSource.spec.query: no {{.window}}" in fault
    found = faults(ratio_document({"bad": "sum(rate(e_total[5m]))", "total": "sum(rate(r_total[{{.window}}])"}))
    assert ["bad.metricSource" in found[0], "total.metricSource" in found[1]] == [True, True]
    reading = read(ratio_document({"bad": "sum(rate(e_total[5m]))", "total": "sum(rate(r_total[5m]))"}, annotation=DECLARED))
    assert [fault.path.split(".")[4] for fault in reading.faults] == ["bad", "total"]
    assert reading.warnings == []


def test_made_up_total_is_an_error() -> None:
    (fault,) = faults(ratio_document({"bad": BAD, "total": f"({TOTAL} > 0) or on () vector(1)"}))
    assert "total.metricSource.spec.query: " in fault


def test_threshold_of_a_made_up_value_is_an_error() -> None:
    text = changed(INDICATOR_TEXT, "metricSourceRef: metrics", "type: prometheus")
    (fault,) = faults(changed(text, "max(latency_seconds)", "max(latency_seconds) or vector(0)"))
    assert fault.startswith("<text>:10: SLI/latency spec.thresholdMetric.metricSource.spec.query: the query may return a number")


def test_error_of_an_sli_document_is_reported_once() -> None:
    sli = changed(SLI_TEXT, "sum(requests_total)", "sum(rate(requests_total[5m]))")
    slo = changed(SLO_TEXT, INLINE, "  indicatorRef: answered\n")
    other = changed(slo, "name: checkout", "name: search")
    (fault,) = faults(joined(slo, other, sli, SERVICE_TEXT))
    assert "SLI/answered spec.ratioMetric.total.metricSource.spec.query: no {{.window}}" in fault
    assert faults(joined(sli, SERVICE_TEXT)) != []


@pytest.mark.parametrize("word", ["prometheus", "PROMETHEUS", "Prometheus"])
def test_type_of_a_data_source_is_read_in_any_case(word: str) -> None:
    (slo,) = load(ratio_document({"bad": BAD, "total": TOTAL}, kind=word))
    assert slo.indicator is not None
    assert slo.indicator.source_type == "Prometheus"
    source = f"apiVersion: openslo/v1\nkind: DataSource\nmetadata: {{name: metrics}}\nspec: {{type: {word}}}\n"
    assert load(source).data_sources["metrics"].type == "Prometheus"


def test_unknown_type_reads_with_a_warning() -> None:
    """The catalog may be shared with other tools: its other SLOs must stay usable."""
    text = joined(
        ratio_document({"bad": "sum:errors", "total": "sum:requests"}, kind="Datadog", name="other"),
        ratio_document({"bad": BAD, "total": TOTAL}).partition("---\n")[0],
    )
    found = warnings(text)
    assert len(found) == 2
    assert all(
        "'Datadog' cannot be measured (only Prometheus, SQL, Ledger); its SLOs are always unknown to gates" in one
        for one in found
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 1 AS good, 2 AS total WHERE :date_from < :date_to; DROP TABLE t", "more than one statement"),
        ("DELETE FROM t WHERE ts >= :date_from AND ts < :date_to", "this begins with DELETE"),
        ("SELECT good, total FROM t", "the query does not use :date_from and :date_to"),
        ("SELECT good, total FROM t WHERE ts >= :date_form AND ts < :date_to", "did you mean :date_from?"),
    ],
)
def test_refused_sql_is_an_error(query: str, message: str) -> None:
    found = faults(ratio_document({"good": query, "total": query}, kind="sql"))
    assert len(found) == 2
    assert all(message in fault for fault in found)


def test_sql_that_one_database_reads_is_accepted() -> None:
    query = r"SELECT good, total FROM t WHERE name <> 'it\'s' AND ts >= :date_from AND ts < :date_to"
    assert faults(ratio_document({"good": query, "total": query}, kind="SQL")) == []


@pytest.mark.parametrize(
    ("ratio", "message"),
    [
        ("{good: %(a)s, total: %(b)s}", "good and total name different checks"),
        ("{metricSource: {type: ledger, spec: {check: a, service: shop}}}", "service 'shop' belongs to kind: slo"),
        ("{rawType: failure, raw: %(a)s}", "a raw ratio of type failure is not defined for checks"),
    ],
)
def test_ledger_indicator_that_is_always_refused_is_an_error(ratio: str, message: str) -> None:
    checks = {name: f"{{metricSource: {{type: ledger, spec: {{check: {name}}}}}}}" for name in "ab"}
    text = changed(SLO_TEXT, INLINE, f"  indicator: {{spec: {{ratioMetric: {ratio % checks}}}}}\n")
    (fault,) = faults(joined(text, SERVICE_TEXT))
    assert fault.startswith("<text>:7: SLO/checkout spec.indicator.spec.ratioMetric.")
    assert message in fault


class TestDeclaredCounts:
    def test_unreadable_query_names_the_declaration(self) -> None:
        (fault,) = faults(ratio_document({"bad": METRICSQL, "total": TOTAL}))
        assert "bad.metricSource.spec.query: the query cannot be read: " in fault
        assert fault.endswith('declare that with the annotation airflow-slo/counts: "events"')

    def test_declared_query_is_read_with_a_warning_at_the_annotation(self) -> None:
        text = ratio_document({"bad": METRICSQL, "total": TOTAL}, annotation=DECLARED)
        (warning,) = warnings(text)
        message = "checkout: that its queries count events is declared, and not proven"
        assert warning == f"<text>:6: SLO/checkout metadata.annotations.airflow-slo/counts: {message}"
        (slo,) = load(text)
        assert slo.options.counts == "events"
        assert slo.indicator is not None
        assert isinstance(slo.indicator.metric, RatioMetric)
        reading = read_metric(slo.indicator.metric)
        assert (reading.counts, reading.declared) == (True, True)

    @pytest.mark.parametrize("value", ["ratio", "Events", "true", "event"])
    def test_other_value_is_an_error(self, value: str) -> None:
        (fault,) = faults(joined(annotated(f'airflow-slo/counts: "{value}"'), SERVICE_TEXT))
        assert fault.endswith(f"airflow-slo/counts: {value!r} is not a declaration; the only one is events")

    def test_declaration_without_effect_is_a_warning(self) -> None:
        (warning,) = warnings(ratio_document({"bad": BAD, "total": TOTAL}, annotation=DECLARED))
        assert "airflow-slo/counts: has no effect" in warning

    @pytest.mark.parametrize(
        ("queries", "message"),
        [
            ({"bad": "avg(rate(e_total[{{.window}}]))", "total": TOTAL}, "avg() does not count the events"),
            ({"bad": METRICSQL, "total": "avg(increase(r_total[{{.window}}]))"}, "and this one must too"),
            ({"bad": METRICSQL, "total": "sum(rate(r_total[{{.window}}]))"}, "is per second, and the other query"),
            ({"bad": METRICSQL, "total": "sum(increase(r_total[{{.window}}])) * 2"}, "and this one must too"),
            ({"bad": METRICSQL, "total": f"{TOTAL} or vector(1)"}, "total"),
            ({"bad": "sum(increase(e_total)) default 0", "total": TOTAL}, "no {{.window}} in 'sum(increase(e_total)) default 0'"),
            ({"good": METRICSQL, "total": "sum(rate(requests_total[5m]))"}, "no {{.window}} in 'sum(rate(requests_total[5m]))'"),
            ({"raw": f"{METRICSQL} / {TOTAL}"}, "the query cannot be read"),
        ],
    )  # fmt: skip
    def test_declaration_does_not_accept_what_can_be_read(self, queries: dict[str, str], message: str) -> None:
        (fault,) = faults(ratio_document(queries, annotation=DECLARED))
        assert message in fault

    def test_declaration_of_an_slo_holds_for_its_sli_ratio_document(self) -> None:
        sli = changed(SLI_TEXT, "sum(requests_total)", "sum(increase(requests_total[{{.window}}])) default 0")
        slo = changed(annotated(DECLARED), INLINE, "  indicatorRef: answered\n")
        assert len(warnings(joined(slo, sli, SERVICE_TEXT))) == 1
        undeclared = changed(changed(SLO_TEXT, INLINE, "  indicatorRef: answered\n"), "name: checkout", "name: search")
        (fault,) = faults(joined(slo, undeclared, sli, SERVICE_TEXT))
        assert "SLI/answered spec.ratioMetric.total.metricSource.spec.query: the query cannot be read" in fault
        (warning,) = warnings(joined(sli, SERVICE_TEXT))
        assert "SLI/answered spec.ratioMetric.total.metricSource.spec.query: the query cannot be read" in warning

    def test_declaration_of_imported_documents_is_read(self) -> None:
        sloth = changed(KUBERNETES.replace("rate(", "increase("), '"5.."}[{{.window}}]))', '"5.."}[{{.window}}])) default 0')
        (fault,) = faults(sloth)
        assert "sli.events.errorQuery: the query cannot be read" in fault
        generator = changed(SLO_GENERATOR, 'total{code=~"2.."}', "total{code='2..' or code='3..'}")
        generator = changed(generator, "requests_total{code=", "requests_total offset -1i {code=")
        (fault,) = faults(generator)
        assert "service_level_indicator.filter_good: the query cannot be read" in fault
        for text in (
            changed(sloth, 'airflow-slo/min-events: "100"', DECLARED),
            changed(generator, "  labels:\n", f"  annotations: {{{DECLARED}}}\n  labels:\n"),
        ):
            assert any("its queries count events is declared, and not proven" in one for one in warnings(text))


def test_reading_without_prometheus_does_not_import_the_parser(tmp_path: Path) -> None:
    query = "SELECT good, total FROM t WHERE ts >= :date_from AND ts < :date_to"
    path = tmp_path / "sql.yaml"
    path.write_text(ratio_document({"good": query, "total": query}, kind="SQL"))
    code = (
        "import sys; from airflow_slo_provider.slo import load; load(sys.argv[1]); "
        "print([name for name in ('promql_parser', 'airflow', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_read_reports_each_refusal_of_a_directory(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(
            ratio_document({"bad": "sum(x[5m])", "total": TOTAL}, name=name).partition("---\n")[0]
        )
    assert [Path(fault.file).name for fault in read(tmp_path).faults] == ["a.yaml", "b.yaml"]
