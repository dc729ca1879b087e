"""Operator that evaluates a model on a golden set, with confidence intervals and a comparison with the champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.core.lazy_names import offer
from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.evaluation.verdict.outcomes import INTERVAL, VALUE, ModelVerdict
from airflow_slo_provider.exceptions import InvalidMeasurement
from airflow_slo_provider.links.slo import ReportLink, SLOLink
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors, record_unknown_on_error
from airflow_slo_provider.runtime.recording.observations import record_observations
from airflow_slo_provider.runtime.required_parameters import require

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.evaluation.models.context import PredictionContext
    from airflow_slo_provider.evaluation.models.predictors import Column, HttpModel, PredictionFile
    from airflow_slo_provider.evaluation.models.worker_models import MlflowModel, ModelFile
    from airflow_slo_provider.evaluation.rows.golden_set import GoldenSet
    from airflow_slo_provider.evaluation.verdict.assessment import EvaluationPlan, ModelAssessment
    from airflow_slo_provider.results import CheckResult

__all__ = ["Column", "GoldenSetEvaluationOperator", "HttpModel", "MlflowModel", "ModelFile", "PredictionFile"]

__getattr__ = offer(
    __name__,
    {
        "evaluation.models.predictors": "Column HttpModel PredictionFile",
        "evaluation.models.worker_models": "MlflowModel ModelFile",
    },
)


class GoldenSetEvaluationOperator(TextFields):
    """Evaluate a candidate model on a golden set: metrics with intervals, thresholds, and comparison with the champion.

    The candidate and the champion are compared on the same rows.

    The task fails without a retry if the verdict is ``fail``, ``inconclusive`` or ``unknown`` (see ``fail_on``); the results
    are recorded before it fails. The XCom holds ``verdict``, ``why``, ``metrics`` with intervals, ``comparisons``, ``report``.

    .. code-block:: python

        evaluate = GoldenSetEvaluationOperator(
            task_id="evaluate",
            golden_set="s3://models/golden/fraud.parquet",
            predictor=HttpModel("fraud_candidate", "/v2/models/fraud/infer"),
            champion=HttpModel("fraud_serving", "/v2/models/fraud/infer"),
            metrics=["roc_auc", "log_loss", "latency_p95"],
            thresholds={"roc_auc": 0.90, "latency_p95": {"fail": 0.2, "warn": 0.1}},
            compare_on=["roc_auc"],
            margin=0.005,
        )

    :param golden_set: path or URI of the golden set (parquet, CSV, JSON lines), or a SELECT if ``sql_conn_id`` is given. A
        relative path, here and of a predictor, starts at the folder of the DAG file. (templated)
    :param predictor: source of the candidate's predictions: the name of a column, a file of predictions, a function, or one of
        ``Column``, ``PredictionFile``, ``HttpModel``, ``ModelFile``, ``MlflowModel``. (templated)
    :param metrics: names as in scikit-learn (``accuracy``, ``roc_auc``, ``rmse``, ``ndcg@10`` ...; the full list is in
        docs/golden-sets.md) and functions of true values and predictions, as a list, or as a mapping with a name for each. A
        function gets the output of the predictor: the classes if it returns classes, even if it also returns scores. The
        attribute ``higher_is_better`` of the function gives the direction. Latencies are in seconds
    :param thresholds: threshold per metric: a number, or ``{"fail": 0.90, "warn": 0.92}``. Without thresholds and a champion
        nothing passes. (templated)
    :param champion: source of the champion's predictions, like ``predictor``. (templated)
    :param champion_may_be_missing: if the champion's path, column or URI renders to an empty text, there is no champion yet and
        only the thresholds decide; without this parameter it is an error
    :param slices: columns whose values define segments, which are judged one by one; they are not features unless ``features``
        names them
    :param compare_on: metrics on which the candidate is compared with the champion; by default those with thresholds, else the
        first; not latencies
    :param margin: how much worse than the champion the candidate may be, in the unit of the metric (a number, or one for each
        metric); with 0 it must be better. (templated)
    :param slice_margin: how much worse than the champion the candidate may be in a segment
    :param slice_min_rows: minimum number of rows of a segment; smaller segments are not judged
    :param confidence: confidence level of the intervals, e.g. ``0.95``
    :param decide_on: ``interval``: the whole interval must reach the threshold, and an interval that contains the threshold is
        ``inconclusive``; ``value``: only the value decides
    :param min_coverage: share of the golden set's rows that must have a label and a prediction, above 0 and at most 1
    :param min_rows: with fewer rows, a bootstrap or DeLong interval is not used for a verdict
    :param fail_on: verdicts that fail the task; if it is empty, a downstream branch can decide by ``verdict`` of the XCom
    :param name: name of the check in the ledger; by default the golden set's file name. (templated)
    :param model_version: version of the candidate, for the ledger. (templated)
    :param report_path: directory (path or URI) for the JSON and HTML reports. (templated)
    :param id_column: column with the id of a row
    :param label_column: column with the true value
    :param features: columns that are passed to the model; by default all columns that have no other role (id, label, group,
        weight, slices, stored predictions)
    :param group_column: column with the query of a row; rows of one query are ranked together and are not independent
    :param weight_column: column with the weight of a row
    :param labels: the classes known in training, in the order of the columns if the predictions are one probability per class;
        other classes are reported
    :param pos_label: the positive class of two; by default the greater
    :param decision_threshold: probability from which a row counts as positive, for class metrics of a predictor that returns
        only probabilities; ignored if the predictor returns classes
    :param replicates: number of bootstrap replicates, at least 100
    :param sql_conn_id: SQL connection, if the golden set is a query. (templated)
    :param pushgateway_conn_id: connection of a Pushgateway that gets the metrics as gauges. (templated)
    :raises ValueError: when the DAG file is parsed, for an unknown metric, a threshold for a metric that is not measured, or an
        invalid number
    """

    template_fields: Sequence[str] = (
        "golden_set", "predictor", "champion", "thresholds", "margin", "name", "model_version", "report_path", "sql_conn_id",
        "pushgateway_conn_id",
    )  # fmt: skip
    text_fields = frozenset({"golden_set", "name", "model_version", "report_path", "sql_conn_id", "pushgateway_conn_id"})
    ui_color = "#dce8f7"
    operator_extra_links = (SLOLink(), ReportLink())

    def __init__(
        self,
        *,
        golden_set: str,
        predictor: Any,
        metrics: Any,
        thresholds: Mapping[str, Any] | None = None,
        champion: Any = None,
        champion_may_be_missing: bool = False,
        slices: str | Sequence[str] = (),
        compare_on: str | Sequence[str] | None = None,
        margin: Any = 0.0,
        slice_margin: float = 0.02,
        slice_min_rows: int = 200,
        confidence: float = 0.95,
        decide_on: str = INTERVAL,
        min_coverage: float = 1.0,
        min_rows: int = 30,
        fail_on: str | Sequence[str] = ("fail", "inconclusive", "unknown"),
        name: str | None = None,
        model_version: str | None = None,
        report_path: str | None = None,
        id_column: str = "id",
        label_column: str = "label",
        features: str | Sequence[str] | None = None,
        group_column: str | None = None,
        weight_column: str | None = None,
        labels: Sequence[Any] | None = None,
        pos_label: Any = None,
        decision_threshold: float = 0.5,
        replicates: int = 2000,
        sql_conn_id: str | None = None,
        pushgateway_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        from airflow_slo_provider.evaluation.metrics.metric_names import find_metrics, select_compared_metrics
        from airflow_slo_provider.evaluation.models.predictors import make_predictor

        super().__init__(**kwargs)
        if decide_on not in (INTERVAL, VALUE):
            raise ValueError(f"decide_on is {decide_on!r}; write {INTERVAL!r} or {VALUE!r}")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}; write a number between 0 and 1, e.g. 0.95")
        if replicates < 100:
            raise ValueError(f"replicates is {replicates}; an interval needs at least 100, better 1,000")
        if not 0 < min_coverage <= 1:
            raise ValueError(f"min_coverage is {min_coverage}; write a share above 0 and at most 1")
        if not 0 <= decision_threshold <= 1:
            raise ValueError(f"decision_threshold is {decision_threshold}; it is a probability: write a number from 0 to 1")
        self.golden_set, self.predictor, self.metrics = golden_set, make_predictor(predictor), metrics
        self.thresholds = dict(thresholds or {})
        self.champion = None if champion is None else make_predictor(champion)
        self.champion_may_be_missing = champion_may_be_missing
        self.slices = text_list(slices)
        self.compare_on = select_compared_metrics(
            find_metrics(metrics), thresholds=thresholds or (), compare_on=compare_on, champion=champion is not None
        )
        self.margin = margin
        self.slice_margin, self.slice_min_rows = slice_margin, slice_min_rows
        self.confidence, self.decide_on = confidence, decide_on
        self.min_coverage, self.min_rows = min_coverage, min_rows
        self.fail_on = frozenset(map(ModelVerdict, text_list(fail_on)))
        self.name, self.model_version, self.report_path = name, model_version, report_path
        self.id_column, self.label_column, self.features = id_column, label_column, features
        self.group_column, self.weight_column = group_column, weight_column
        self.labels, self.pos_label, self.decision_threshold = labels, pos_label, decision_threshold
        self.replicates = replicates
        self.sql_conn_id, self.pushgateway_conn_id = sql_conn_id, pushgateway_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the golden set, get the predictions, judge and record them, and fail on a verdict in ``fail_on``.

        :param context: Airflow's task context
        """
        from airflow_slo_provider.evaluation.report.ledger_records import summarise
        from airflow_slo_provider.evaluation.verdict.assessment import assess

        write = partial(record_observations, log=self.log)
        with non_retryable_errors(), record_unknown_on_error(context, self._unknown, write=write):  # type: ignore[arg-type]
            require(self)
            plan = self._plan()
            golden = self._read()
            prediction_context = self._prediction_context()
            self.log.info("golden set %s: %d rows, content %s", golden.source, golden.rows, golden.content_hash[:12])
            candidate = self.predictor.predict(golden, prediction_context)
            champion = self.champion.predict(golden, prediction_context) if self._has_champion() else None
            assessment = assess(plan, golden, candidate, champion)
            for part in assessment.parts:
                self.log.info("%s: %s: %s", part.name, part.verdict.value, part.why)
            for name, value in assessment.reported.items():
                self.log.info("%s: %s, not judged", name, value)
            reports = self._report(assessment, context)
            version = self.model_version or candidate.model_version
            self._record(assessment, context, version, reports)
            result = summarise(assessment, model_version=version, report_uri=reports.get("report.html"))
            self._send_verdict(assessment, result, context)
        context["ti"].xcom_push(key="return_value", value=result)
        if assessment.verdict in self.fail_on:
            raise AirflowFailException(f"{self._check_name()}: {assessment.verdict.value}: {assessment.why}")
        return result

    def _plan(self) -> EvaluationPlan:
        from airflow_slo_provider.evaluation.metrics.metric_names import find_metrics
        from airflow_slo_provider.evaluation.verdict.assessment import EvaluationPlan
        from airflow_slo_provider.evaluation.verdict.segments import SegmentRule
        from airflow_slo_provider.evaluation.verdict.thresholds import read_margin, read_threshold

        metrics = find_metrics(self.metrics)
        by_name = {metric.name: metric for metric in metrics}
        try:
            thresholds = {name: read_threshold(value, by_name[name]) for name, value in self.thresholds.items()}
            margin = read_margin(self.margin)
        except ValueError as error:  # a template rendered to something that is not a number, which a retry does not change
            raise InvalidMeasurement(str(error), reason="bad_option") from error
        return EvaluationPlan(
            metrics=metrics,
            thresholds=thresholds,
            compare_on=self.compare_on if self.champion is not None else (),
            margin=margin,
            confidence=self.confidence,
            decide_on=self.decide_on,
            min_coverage=self.min_coverage,
            min_rows=self.min_rows,
            slices=SegmentRule(margin=self.slice_margin, min_rows=self.slice_min_rows) if self.slices else None,
            labels=None if self.labels is None else text_list(self.labels),
            pos_label=self.pos_label,
            decision_threshold=self.decision_threshold,
            replicates=self.replicates,
        )

    def _read(self) -> GoldenSet:
        from airflow_slo_provider.evaluation.models.predictors import list_columns
        from airflow_slo_provider.evaluation.rows.golden_set import Schema, make_golden_set, read_table
        from airflow_slo_provider.runtime.connections.sql import read_sql

        schema = Schema(
            id=self.id_column,
            label=self.label_column,
            features=None if self.features is None else text_list(self.features),
            group=self.group_column,
            segments=self.slices,
            weight=self.weight_column,
            ignored=list_columns((self.predictor, self.champion)),
        )
        if self.sql_conn_id:
            return make_golden_set(read_sql(self.golden_set, self.sql_conn_id), schema, f"query on {self.sql_conn_id}")
        return make_golden_set(read_table(self._path(self.golden_set)), schema, self.golden_set)

    def _path(self, uri: str, conn_id: str | None = None) -> Any:
        from airflow_slo_provider.runtime.files.documents import resolve_paths
        from airflow_slo_provider.runtime.files.object_storage import object_path

        return object_path(resolve_paths(uri, self.dag.folder), conn_id)

    def _has_champion(self) -> bool:
        """Return whether there is a champion to compare with.

        :raises InvalidMeasurement: if its path, column or URI is empty and ``champion_may_be_missing`` is not set
        """
        from airflow_slo_provider.evaluation.models.predictors import get_location

        if self.champion is None:
            return False
        if get_location(self.champion) != "":
            return True
        if not self.champion_may_be_missing:
            raise InvalidMeasurement(
                "the champion is an empty text; a first model needs champion_may_be_missing=True", reason="no_champion"
            )
        self.log.warning("there is no champion yet: only the thresholds decide")
        return False

    def _prediction_context(self) -> PredictionContext:
        from airflow_slo_provider.evaluation.models.context import PredictionContext
        from airflow_slo_provider.runtime.connections.http import http_server
        from airflow_slo_provider.runtime.progress_log import log_progress

        return PredictionContext(path=self._path, server=http_server, progress=log_progress(self.log, "rows predicted"))

    def _check_name(self) -> str:
        return self.name or (self.task_id if self.sql_conn_id else self.golden_set.rstrip("/").rpartition("/")[2])

    def _report(self, assessment: ModelAssessment, context: Context) -> dict[str, str]:
        """Write both forms of the report; a retry overwrites those of the previous try."""
        if not self.report_path:
            return {}
        from airflow_slo_provider.evaluation.report.assessment_json import to_json
        from airflow_slo_provider.evaluation.report.html import to_html
        from airflow_slo_provider.runtime.files.reports import write_reports

        title = f"{self._check_name()}: {self.model_version or 'candidate'}"
        texts = {"report.json": to_json(assessment), "report.html": to_html(assessment, title)}
        return write_reports(self.report_path, context["ti"], texts)

    def _record(self, assessment: ModelAssessment, context: Context, version: str | None, reports: dict[str, str]) -> None:
        from airflow_slo_provider.evaluation.report.ledger_records import to_check_results

        interval = (context.get("data_interval_start"), context.get("data_interval_end"))
        evidence = {"report": reports.get("report.html"), "golden_set": self.sql_conn_id or self.golden_set}
        checks = to_check_results(assessment, self._check_name(), model_version=version, evidence=evidence, interval=interval)
        record_observations(checks, context, self.log)  # type: ignore[arg-type]

    def _send_verdict(self, assessment: ModelAssessment, result: dict[str, Any], context: Context) -> None:
        """Put the verdict into the events of the outlets and push the gauges to the Pushgateway."""
        events = context.get("outlet_events")
        for outlet in self.outlets if events is not None else ():
            events[outlet].extra = {key: result[key] for key in ("verdict", "model_version", "golden_set_hash", "report")}
        if self.pushgateway_conn_id:
            import time

            from airflow_slo_provider.evaluation.report.pushgateway_gauges import format_gauges
            from airflow_slo_provider.hooks.pushgateway import PushgatewayHook

            PushgatewayHook(self.pushgateway_conn_id).replace_group(
                format_gauges(assessment, at=time.time()), job="golden_set", grouping={"check": self._check_name()}
            )

    def _unknown(self) -> CheckResult:
        """Return the check of an evaluation that failed with an error, so that the history has no gap."""
        from airflow_slo_provider.evaluation.report.ledger_records import KIND
        from airflow_slo_provider.results import CheckResult, Verdict

        return CheckResult(
            kind=KIND,
            name=self._check_name(),
            verdict=Verdict.UNKNOWN,
            model_version=self.model_version,
            evidence={"outcome": ModelVerdict.UNKNOWN.value},
        )
