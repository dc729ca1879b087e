"""Operator that breaks latency down from traces, checks latency budgets, and compares model versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.links.slo import ReportLink, SLOLink, TraceLink
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.deferral import BoundedDeferral, earliest_resume
from airflow_slo_provider.runtime.recording.checks import (
    non_retryable_errors,
    non_retryable_value_errors,
    record,
    record_unknown_on_error,
)
from airflow_slo_provider.runtime.recording.observations import date_at_window_end
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.results import CheckResult
    from airflow_slo_provider.tracing.analysis.assessment import LatencyAssessment

#: Span attribute with the model version, by default.
_VERSION_KEYS = ("model_version",)
#: Parameters for which an empty text means the default: ``{{ params.baseline or '' }}``.
_MAY_BE_EMPTY = ("start", "end", "baseline")


class LatencyBreakdownOperator(BoundedDeferral, TextFields):
    """Break the latency of a service's requests down by span and model version, and compare it with latency budgets.

    Spans are read from a trace store for the run's data interval, as a stream. Each percentile is compared with its budget; the
    newest model version is compared with the previous one (a rank test of each span's own time, and a bootstrap interval of the
    p99). The result is written to the ledger (one record per span and tier, and one for the comparison), to XCom as a small
    dict, and to an HTML report if ``report_path`` is set.

    The operator fails closed: if traces are missing, too few or truncated, the verdict is ``unknown`` and never a pass.
    ``fail`` and ``unknown`` fail the task without a retry (``fail_on``); a store that does not answer fails the try, which is
    retried (``retries``).

    .. code-block:: python

        LatencyBreakdownOperator(
            task_id="latency",
            service="model-server",
            trace_store_conn_id="tempo",
            budgets={"ml_prediction_request": {"p50": "50ms", "p99": "100ms"}, "feature_fetch": "20ms"},
            report_path="s3://reports/latency",
        )

    :param service: ``service.name`` of the model server. (templated)
    :param trace_store_conn_id: Airflow connection of the trace store. (templated)
    :param start: start of the interval: an aware datetime, or ISO 8601 text with a time zone; by default the start of the data
        interval, or ``window`` before ``end`` if the run has no data interval. (templated)
    :param end: end of the interval, exclusive; by default the end of the data interval, or ``lag`` ago. (templated)
    :param window: length of the interval in a run without a data interval
    :param lag: time until spans can be found (they are exported in batches, and Tempo's search leaves out the last 30 s). If
        the interval ended less than this ago, the task defers until then
    :param attributes: keep only requests in which a span of the service has all of these attributes. (templated)
    :param limit: maximum number of requests to read; if there are more, the verdict is ``unknown`` unless ``allow_truncated``
        is set
    :param budgets: latency budget by span and tier (``p50``, ``p95``, ``p99``): seconds, a timedelta, or text such as
        ``"20ms"``; a single value is for the p99. By default the usual budget of an online prediction (100 ms at the p99).
        (templated)
    :param baseline: version to compare with; by default (None, or an empty text) the one before ``model_version``. If a given
        version has no spans, or too few, the verdict is ``unknown``. (templated)
    :param model_version: version to judge; by default the newest that served requests. The verdict is ``unknown`` if requests
        were served beside it or after it without a version, or by a version whose name does not show that it is older.
        (templated)
    :param version_keys: span attributes that may hold the model version, best first. If they are given, or ``slower`` is
        ``fail``, and no span has any of them, the verdict is ``unknown``
    :param slower: effect of a version that is slower than the baseline: ``warn``, ``fail`` or ``ignore`` (no comparison)
    :param min_spans: minimum number of spans for judging a percentile
    :param allow_truncated: judge even if traces are missing
    :param fail_on: verdicts that fail the task
    :param report_path: directory (path or URI) for the HTML report. (templated)
    :raises ValueError: when the DAG file is parsed, for invalid arguments
    """

    template_fields: Sequence[str] = (
        "service", "trace_store_conn_id", "start", "end", "attributes", "budgets", "baseline", "model_version", "report_path",
    )  # fmt: skip
    text_fields = frozenset({"service", "trace_store_conn_id", "baseline", "model_version", "report_path"})
    ui_color = "#e5ddf7"
    operator_extra_links = (SLOLink(), ReportLink(), TraceLink())

    def __init__(
        self,
        *,
        service: str,
        trace_store_conn_id: str = "trace_store_default",
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        window: timedelta = timedelta(hours=1),
        lag: timedelta = timedelta(seconds=60),
        attributes: Mapping[str, Any] | None = None,
        limit: int = 10_000,
        budgets: Mapping[str, Any] | None = None,
        baseline: str | None = None,
        model_version: str | None = None,
        version_keys: str | Sequence[str] = _VERSION_KEYS,
        slower: str = "warn",
        min_spans: int = 100,
        allow_truncated: bool = False,
        fail_on: str | Sequence[str] = ("fail", "unknown"),
        report_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if slower not in ("warn", "fail", "ignore"):
            raise ValueError(f"slower is {slower!r}; write warn, fail or ignore")
        if limit < 1 or min_spans < 1:
            raise ValueError(f"limit is {limit} and min_spans {min_spans}; both must be at least 1")
        if window <= timedelta(0) or lag < timedelta(0):
            raise ValueError(f"window is {window} and lag {lag}; window must be positive and lag not negative")
        if unknown := sorted(set(text_list(fail_on)) - {"warn", "fail", "unknown"}):
            raise ValueError(f"fail_on names {unknown[0]!r}; write warn, fail or unknown")
        if not version_keys or not all(text_list(version_keys)):
            raise ValueError(f"version_keys is {version_keys!r}; write a list of attribute names")
        self.service, self.trace_store_conn_id = service, trace_store_conn_id
        self.start, self.end, self.window, self.lag = start, end, window, lag
        self.attributes, self.limit, self.budgets = attributes, limit, budgets
        self.baseline, self.model_version, self.version_keys = baseline, model_version, text_list(version_keys)
        self.slower, self.min_spans = slower, min_spans
        self.allow_truncated, self.fail_on, self.report_path = allow_truncated, frozenset(text_list(fail_on)), report_path
        self._set_in_dag = set_in_dag(self, *(field for field in self.template_fields if field != "report_path"))

    def execute(self, context: Context, event: Any = None) -> Any:
        """Read the traces, judge and record the latency, write the report, and fail on a verdict in ``fail_on``.

        :param context: Airflow's task context
        :param event: event of the trigger; not used
        """
        start, end = self._interval(context)
        self._wait_for_spans(end)
        assessment, found = self._judge(context, start, end)
        if assessment.verdict.value in self.fail_on:
            context["ti"].xcom_push(key="return_value", value=found)
            raise AirflowFailException(f"{self.service}: {assessment.verdict.value}: {assessment.why}")
        return found

    def _judge(self, context: Context, start: datetime, end: datetime) -> tuple[LatencyAssessment, dict[str, Any]]:
        from airflow_slo_provider.tracing.analysis.assessment import summary

        with non_retryable_errors(), record_unknown_on_error(context, lambda: self._unknown(start, end)):  # type: ignore[arg-type]
            assessment = self._assess(start, end)
            self.log.info("%s: %s: %s", self.service, assessment.verdict.value, assessment.why)
            for note in assessment.breakdown.notes:
                self.log.warning("%s", note)
            for symptom in assessment.symptoms:
                self.log.info("%s: likely %s; check %s (%s)", symptom.name, symptom.cause, symptom.check, symptom.evidence)
            report = self._report(assessment, context, start, end)
            record(date_at_window_end(assessment.with_evidence(report=report).checks, start, end), context)  # type: ignore[arg-type]
            return assessment, summary(assessment, service=self.service, report=report)

    def _unknown(self, start: datetime, end: datetime) -> CheckResult:
        from airflow_slo_provider.results import CheckResult, Verdict
        from airflow_slo_provider.tracing.analysis.assessment import KIND

        return CheckResult(
            kind=KIND,
            name=self.service,
            verdict=Verdict.UNKNOWN,
            interval_start=start,
            interval_end=end,
            model_version=self.model_version,
            evidence={"service": self.service},
        )

    def _assess(self, start: datetime, end: datetime) -> LatencyAssessment:
        from airflow_slo_provider.hooks.trace_store import TraceStoreHook
        from airflow_slo_provider.tracing.analysis.assessment import LatencyRules, assess, read_budgets
        from airflow_slo_provider.tracing.analysis.breakdown import breakdown
        from airflow_slo_provider.tracing.analysis.comparison import compare

        with non_retryable_value_errors():
            budgets = None if self.budgets is None else read_budgets(self.budgets)
        rules = LatencyRules(budgets=budgets, fewest=self.min_spans, slower=self.slower, allow_truncated=self.allow_truncated)
        hook = TraceStoreHook(self.trace_store_conn_id)
        self.log.info("reading traces of %s from %s to %s", self.service, start.isoformat(), end.isoformat())
        spans = hook.spans(self.service, start, end, dict(self.attributes or {}), self.limit, self.version_keys)
        found = breakdown(spans, version_keys=self.version_keys)
        baseline = self.baseline or None
        compared = not_compared = None
        if all(version is None for version in found.versions) and found.traces and self._versions_matter():
            not_compared = f"no span has the attribute {' or '.join(self.version_keys)}; check version_keys"
        elif self.slower != "ignore" and (baseline or len(found.versions) > 1):
            try:
                compared = compare(found, baseline, self.model_version)
            except NoData as error:
                # Without a given baseline there is nothing to compare; a given baseline without spans makes the verdict
                # unknown.
                not_compared = str(error) if baseline else None
                self.log.info("versions are not compared: %s", error)
        return assess(
            found, rules, service=self.service, comparison=compared, not_compared=not_compared,
            version=self.model_version, baseline=baseline, interval=(start, end),
            evidence={"store": self.trace_store_conn_id, "attributes": dict(self.attributes or {})},
        )  # fmt: skip

    def _versions_matter(self) -> bool:
        """Return whether the verdict depends on model versions, so that spans without a version leave it open."""
        return self.slower == "fail" or self.version_keys != _VERSION_KEYS

    def _interval(self, context: Context) -> tuple[datetime, datetime]:
        require(self, self._set_in_dag, may_be_empty=_MAY_BE_EMPTY)
        known_start, known_end = context.get("data_interval_start"), context.get("data_interval_end")
        if known_start == known_end:  # a manual run: its data interval has no length
            known_start = known_end = None
        end = _read_timestamp(self.end, "end") or _to_datetime(known_end)
        if end is None:
            from airflow_slo_provider.runtime.evaluation_time import evaluation_time

            # A backfill or partitioned run is about the past, even with an interval of no length.
            with non_retryable_value_errors():
                end = _to_datetime(evaluation_time(None, context, parameter="end").at) or datetime.now(UTC) - self.lag  # type: ignore[arg-type]
        start = (
            _read_timestamp(self.start, "start") or (_to_datetime(known_start) if self.end is None else None) or end - self.window
        )
        if start >= end:
            raise AirflowFailException(f"start {start.isoformat()} is not before end {end.isoformat()}")
        return start, end

    def _wait_for_spans(self, end: datetime) -> None:
        """Defer until the last spans of the interval can be found."""
        ready = end + self.lag
        if ready > datetime.now(UTC) + timedelta(seconds=1):
            from airflow.providers.standard.triggers.temporal import DateTimeTrigger

            self.log.info("waiting until %s, when the last spans before %s can be found", ready.isoformat(), end.isoformat())
            self.defer(trigger=DateTimeTrigger(moment=max(ready, earliest_resume())), method_name="execute")

    def _report(self, assessment: LatencyAssessment, context: Context, start: datetime, end: datetime) -> str | None:
        """Write the report; a retry overwrites that of the previous try."""
        if not self.report_path:
            return None
        from airflow_slo_provider.runtime.files.reports import write_reports
        from airflow_slo_provider.tracing.report.html import to_html

        title = f"Latency of {self.service}, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
        return write_reports(self.report_path, context["ti"], {"latency.html": to_html(assessment, title)})["latency.html"]


def _read_timestamp(value: datetime | str | None, name: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        found = _to_datetime(value) if isinstance(value, datetime) else datetime.fromisoformat(value)
    except ValueError:
        raise AirflowFailException(f"{name} is {value!r}, not a timestamp; write ISO 8601 with a time zone") from None
    if found is None or found.tzinfo is None:
        raise AirflowFailException(f"{name} {value} has no time zone; write e.g. 2026-11-24T10:00:00+00:00")
    return found


def _to_datetime(timestamp: datetime | None) -> datetime | None:
    """Convert a pendulum datetime to Python's datetime, whose differences are plain timedeltas."""
    return None if timestamp is None else datetime.combine(timestamp.date(), timestamp.timetz())
