"""Operator that compares a dataset with a reference and records the drift of each column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.exceptions import InvalidMeasurement
from airflow_slo_provider.links.slo import ReportLink, SLOLink
from airflow_slo_provider.operators.blocking_operator import BlockingOperator
from airflow_slo_provider.operators.drift.data_parameters import DriftDataFields
from airflow_slo_provider.runtime.gates.dag_checks import HOLD_AFTER_A_FAILURE, HOLD_AFTER_A_SKIP, argument

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

    from airflow_slo_provider.drift import DriftReport


class DriftOperator(DriftDataFields, BlockingOperator):
    """Compare a dataset with its reference, column by column, and record the result.

    The dataset's state is ``ok``, ``warn``, ``drift``, ``insufficient_data``, ``schema_change`` or ``error``. The ledger gets a
    check for the dataset and one for each column that is not ok; XCom gets a small dict (``verdict``, ``message``, ``drifted``,
    ``worst``, ``report`` ...). The task fails on a state only if ``fail_on_drift`` or ``on_states`` says so; it always fails if
    the data cannot be read.

    .. code-block:: python

        DriftOperator(
            task_id="drift",
            reference="s3://models/churn/7/profile.json",
            current="s3://features/day={{ ds }}/*.parquet",
            ignore=["customer_id", "*_at"],
            thresholds={"psi": 0.2, "amount_*": {"psi": 0.3}},
            report_path="s3://reports/drift/{{ ds }}.html",
        )

    The parameters for the data and the engine (``columns``, ``engine``, ``name`` ...) are those of :class:`.DriftDataFields`
    (``airflow_slo_provider.operators.drift.data_parameters``).

    :param reference: files (path, glob, directory, URI, list), a stored profile (``.json``), or with ``engine="sql"`` or
        ``"spark"`` a table or SELECT. (templated)
    :param current: the data to compare, in the same forms; with ``time_column`` it is ``reference`` by default. (templated)
    :param tests: ``psi``, ``ks`` or both
    :param thresholds: thresholds by name, and mappings of thresholds by column or pattern. (templated)
    :param ignore: columns and patterns to leave out. (templated)
    :param where: filter of the rows of ``current``: a list of (column, operator, value), or with ``engine="sql"`` or
        ``"spark"`` a condition in SQL. (templated)
    :param reference_where: filter of the rows of ``reference``, in the same forms. (templated)
    :param reference_window: with ``time_column``: the reference is the window of this length before the data interval
    :param same_weekday: use only those parts of ``reference_window`` that lie a whole number of weeks before the data interval
    :param alpha: false discovery rate over the columns, between 0 and 1
    :param exact: compute every Kolmogorov-Smirnov statistic exactly; needs ``engine="local"`` and files on both sides
    :param min_rows: with fewer values on either side a column is ``insufficient_data``
    :param critical: columns and patterns whose drift counts as drift of the dataset; all by default
    :param max_share: share of the total column weight that may drift, from 0 to 1; no limit by default
    :param weights: weight per column, e.g. feature importance. (templated)
    :param prediction_columns: columns that hold the model's output
    :param label_columns: columns that hold the true values
    :param on_states: action per state: ``fail``, ``warn``, ``skip`` (this task and everything downstream) or ``pass``. With
        ``skip``, downstream tasks need the trigger rule ``all_success``, because others would run after a skip
    :param may_run_when_blocked: ids of downstream tasks and task groups that may run, by their trigger rules, even if this task
        skips
    :param fail_on_drift: the same as mapping drift, schema_change, insufficient_data and error to ``fail``
    :param report_path: path or URI of the report; HTML if it ends in ``.html``, else JSON. (templated)
    :param asset: an asset that gets an event with the verdict from every run
    :param drift_asset: an asset that gets an event only from runs that found drift; schedule the retraining DAG on it
    :raises ValueError: when the DAG file is parsed, for invalid arguments or combinations of them
    """

    template_fields: Sequence[str] = (
        *DriftDataFields.template_fields, "reference", "current", "thresholds", "ignore", "where", "reference_where", "weights",
        "report_path",
    )  # fmt: skip
    text_fields = DriftDataFields.text_fields | {"report_path"}
    list_fields = DriftDataFields.list_fields | {"ignore"}
    operator_extra_links = (SLOLink(), ReportLink())

    def __init__(
        self,
        *,
        reference: Any,
        current: Any = None,
        tests: str | Sequence[str] = ("psi", "ks"),
        thresholds: Mapping[str, Any] | None = None,
        ignore: str | Sequence[str] = (),
        where: Any = None,
        reference_where: Any = None,
        reference_window: timedelta | None = None,
        same_weekday: bool = False,
        alpha: float = 0.01,
        exact: bool = False,
        min_rows: int = 500,
        critical: str | Sequence[str] | None = None,
        max_share: float | None = None,
        weights: Mapping[str, float] | None = None,
        prediction_columns: str | Sequence[str] = (),
        label_columns: str | Sequence[str] = (),
        on_states: Mapping[str, str] | None = None,
        fail_on_drift: bool = False,
        report_path: str | None = None,
        asset: Asset | None = None,
        drift_asset: Asset | None = None,
        **kwargs: Any,
    ) -> None:
        outlets = [*kwargs.pop("outlets", []), *([asset] if asset is not None else [])]
        if drift_asset is not None:
            outlets.append(AssetAlias(name=f"drift: {drift_asset.name}"))
        super().__init__(outlets=outlets, **kwargs)
        if current is None and self.time_column is None:
            raise ValueError(
                f"{self.task_id}: current is missing; name the data to compare, or a time_column that chooses it from reference"
            )
        if reference_window is not None and self.time_column is None:
            raise ValueError(f"{self.task_id}: reference_window needs time_column")
        if thresholds and not (isinstance(thresholds, Mapping) and any("{" in str(value) for value in thresholds.values())):
            from airflow_slo_provider.drift.verdict.thresholds import read_gates

            read_gates(thresholds)
        known = bool(tests) and set(text_list(tests)) <= {"psi", "ks"}
        if not known or not 0 < alpha < 1 or (max_share is not None and not 0 <= max_share <= 1):
            raise ValueError(f"{self.task_id}: alpha {alpha}, max_share {max_share} or tests {tests!r} is invalid")
        failing = dict.fromkeys(_FAILING_STATES, "fail") if fail_on_drift else {}
        self.on_states = {**failing, **(on_states or {})}
        if on_states:
            from airflow_slo_provider.drift.verdict.thresholds import actions

            actions(on_states)
        self.reference, self.current = reference, current
        self.tests, self.thresholds, self.ignore = text_list(tests), thresholds, ignore
        self.where, self.reference_where = where, reference_where
        self.reference_window, self.same_weekday = reference_window, same_weekday
        self.alpha, self.exact, self.min_rows = alpha, exact, min_rows
        self.critical, self.max_share, self.weights = critical, max_share, weights
        self.prediction_columns, self.label_columns = text_list(prediction_columns), text_list(label_columns)
        self.report_path, self.asset, self.drift_asset = report_path, asset, drift_asset
        #: ``SQLCheckResult`` for the dataset and each column, for listeners, once the task has compared.
        self.check_results: list[Any] = []

    @classmethod
    def tasks_to_block(cls, task: Any) -> Iterable[Any]:
        """Return everything downstream if a state may skip; a failure needs no check, because Airflow handles it."""
        return super().tasks_to_block(task) if _may_skip(task) else ()

    @classmethod
    def trigger_rules(cls, task: Any) -> frozenset[str]:
        """Return the trigger rules under which downstream tasks stay blocked; after a skip, only ``all_success``."""
        return HOLD_AFTER_A_SKIP if _may_skip(task) else HOLD_AFTER_A_FAILURE

    def execute(self, context: Context) -> dict[str, Any]:
        """Compare, record and report; fail or skip if ``on_states`` says so for the state.

        :param context: Airflow's task context
        """
        self.recheck_dag()
        report, found = self._compare_and_record(context)
        context["ti"].xcom_push(key="drift", value=found)
        # Pushed before failing, so that the result is visible on the failed task.
        context["ti"].xcom_push(key="return_value", value=found)
        self._apply_action(report)
        return found

    def _compare_and_record(self, context: Context) -> tuple[DriftReport, dict[str, Any]]:
        from airflow_slo_provider.drift import save_report
        from airflow_slo_provider.drift.report.ledger_records import assertions, checks, summary
        from airflow_slo_provider.drift.verdict.thresholds import actions
        from airflow_slo_provider.runtime.recording.checks import check_results

        with self._record_failures(context):
            report = self._call_on_engine(lambda spark: self._compare(context, spark), context)
            for column in report.ranked():
                self.log.info("%-17s %s: %s", column.verdict.value, column.name, column.message)
            self.log.info("%s: %s", report.verdict.value, report.message)
            uri = save_report(report, self._file(self.report_path)) if self.report_path else None
            results = checks(
                report,
                name=self.check_name,
                actions=actions(self.on_states),
                chosen=frozenset(self.on_states),
                interval=self._interval(context),
                model_version=self.model_version,
                report_uri=uri,
            )
            self._record(results, context)
        self.check_results = check_results(
            "drift",
            assertions(report, name=self.check_name, thresholds=self.thresholds),
            table=report.current,
            actions=self.on_states,
        )
        found = summary(report, report_uri=uri)
        self._send_verdict(report, found, context)
        return report, found

    def _compare(self, context: Context, spark: Any) -> DriftReport:
        from airflow_slo_provider.drift import compare
        from airflow_slo_provider.runtime.progress_log import log_progress

        (reference, reference_where), (current, where) = self._datasets(context, spark)
        try:
            return compare(
                reference,
                current,
                columns=self.columns,
                ignore=self.ignore,
                categorical=self.categorical,
                tests=self.tests,
                thresholds=self.thresholds,
                alpha=self.alpha,
                exact=self.exact,
                min_rows=self.min_rows,
                critical=self.critical,
                max_share=self.max_share,
                weights=self.weights,
                prediction=self.prediction_columns,
                label=self.label_columns,
                where=where,
                reference_where=reference_where,
                progress=log_progress(self.log, "pieces read"),
            )
        except ValueError as error:  # a templated argument rendered to an invalid value, which a retry does not change
            raise InvalidMeasurement(f"{self.task_id}: {error}", reason="bad_argument") from error

    def _datasets(self, context: Context, spark: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Return the reference and the current dataset, each with the filter to read it with."""
        from airflow_slo_provider.drift.engines.time_windows import reference_windows

        window = self._required_interval(context) if self.time_column else None
        current = self._rows_of(self.reference if self.current is None else self.current, self.where, window, spark)
        if window is None or self.reference_window is None:
            return self._rows_of(self.reference, self.reference_where, None, spark), current
        merged = None
        for span in reference_windows(*window, self.reference_window, same_weekday=self.same_weekday):
            part = self._profile(*self._rows_of(self.reference, self.reference_where, span, spark), like=merged)
            merged = part if merged is None else merged.merge(part)
        return (merged, None), current

    def _send_verdict(self, report: DriftReport, found: Mapping[str, Any], context: Context) -> None:
        """Put the verdict into the asset events."""
        from airflow_slo_provider.drift.verdict.thresholds import DriftState

        events = context["outlet_events"]
        if self.asset is not None:
            events[self.asset].extra = dict(found)
        if self.drift_asset is not None and report.verdict is DriftState.DRIFT:
            events[AssetAlias(name=f"drift: {self.drift_asset.name}")].add(self.drift_asset, extra=dict(found))

    def _apply_action(self, report: DriftReport) -> None:
        action = self.on_states.get(report.verdict.value, "pass")
        message = f"{self.check_name}: {report.verdict.value}: {report.message}"
        if action == "fail":
            raise AirflowFailException(message)
        if action == "skip":
            raise AirflowSkipException(message)
        if action == "warn":
            self.log.warning("%s", message)


#: States of :class:`airflow_slo_provider.drift.verdict.thresholds.DriftState`, which no DAG file needs to load.
_FAILING_STATES = ("drift", "schema_change", "insufficient_data", "error")


def _may_skip(task: Any) -> bool:
    return "skip" in (argument(task, "on_states") or {}).values()
