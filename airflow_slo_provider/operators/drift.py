"""Operators that profile a dataset, compare one with its reference, and branch on what they find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias, BaseBranchOperator

from airflow_slo_provider.hooks.outcomes import record
from airflow_slo_provider.links.slo import ReportLink, SLOLink
from airflow_slo_provider.operators.drift_data import DriftDataFields

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

    from airflow_slo_provider.drift import DriftReport

#: A task id or a task-group id, or several.
TaskIds = str | Sequence[str]


class DriftOperator(DriftDataFields):
    """Compares a dataset with its reference, column by column, and records what it found.

    The dataset's state is ``ok``, ``warn``, ``drift``, ``insufficient_data``, ``schema_change`` or ``error``. The ledger gets
    a check for the dataset and one for each column that is not ok; XCom a small dict (``verdict``, ``message``, ``drifted``,
    ``worst``, ``report`` ...). The task fails on a verdict only if told to, by ``fail_on_drift`` or ``on_states``; data that
    cannot be read always fails it.

    .. code-block:: python

        DriftOperator(
            task_id="drift",
            reference="s3://models/churn/7/profile.json",
            current="s3://features/day={{ ds }}/*.parquet",
            ignore=["customer_id", "*_at"],
            thresholds={"psi": 0.2, "amount_*": {"psi": 0.3}},
            report_path="s3://reports/drift/{{ ds }}.html",
        )

    :param reference: files (path, glob, directory, URI, list), a stored profile (``.json``), or with ``engine="sql"`` a table
        or SELECT. (templated)
    :param current: the same; with ``time_column`` it is the reference's data by default. (templated)
    :param tests: ``psi``, ``ks`` or both
    :param thresholds: gates by name, and mappings of gates by column or pattern. (templated)
    :param ignore: columns and patterns to leave out. (templated)
    :param where: rows of ``current``: a list of (column, operator, value), or with ``engine="sql"`` a condition. (templated)
    :param reference_where: the same for ``reference``. (templated)
    :param reference_window: with ``time_column``: the reference is what lies so far before the data interval
    :param same_weekday: of that, only the windows that are whole weeks before
    :param alpha: false discovery rate over the columns
    :param bins: bins of the population stability index
    :param exact: compute every Kolmogorov-Smirnov statistic exactly
    :param min_rows: fewer values on either side are ``insufficient_data``
    :param critical: columns and patterns whose drift is the dataset's; all by default
    :param max_share: share of the columns' weight that may drift
    :param weights: weight per column, e.g. feature importance. (templated)
    :param prediction_columns: columns that hold the model's output
    :param label_columns: columns that hold the truth
    :param on_states: what a state means: state -> ``fail``, ``warn``, ``skip`` (the task, and what is downstream) or ``pass``
    :param fail_on_drift: the same as mapping drift, schema_change, insufficient_data and error to ``fail``
    :param report_path: where to write the report, HTML where it ends in ``.html``, else JSON. (templated)
    :param asset: an asset that gets an event with the verdict from every run
    :param drift_asset: an asset that gets an event only from runs that found drift: schedule the retraining DAG on it
    :raises ValueError: when the DAG is read, for arguments that make no sense
    """

    template_fields: Sequence[str] = (
        *DriftDataFields.template_fields,
        "reference",
        "current",
        "thresholds",
        "ignore",
        "where",
        "reference_where",
        "weights",
        "report_path",
    )
    operator_extra_links = (SLOLink(), ReportLink())

    def __init__(
        self,
        *,
        reference: Any,
        current: Any = None,
        tests: Sequence[str] = ("psi", "ks"),
        thresholds: Mapping[str, Any] | None = None,
        ignore: Sequence[str] = (),
        where: Any = None,
        reference_where: Any = None,
        reference_window: timedelta | None = None,
        same_weekday: bool = False,
        alpha: float = 0.01,
        bins: int = 10,
        exact: bool = False,
        min_rows: int = 500,
        critical: Sequence[str] | None = None,
        max_share: float | None = None,
        weights: Mapping[str, float] | None = None,
        prediction_columns: Sequence[str] = (),
        label_columns: Sequence[str] = (),
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
            from airflow_slo_provider.drift.gates import read_gates

            read_gates(thresholds)
        if (
            not 0 < alpha < 1
            or bins < 2
            or (max_share is not None and not 0 <= max_share <= 1)
            or set(tests) - {"psi", "ks"}
            or not tests
        ):
            raise ValueError(
                f"{self.task_id}: alpha {alpha}, bins {bins}, max_share {max_share} or tests {tests!r} make no sense"
            )
        chosen = dict.fromkeys(_TROUBLE, "fail") if fail_on_drift else {}
        self.on_states = {**chosen, **(on_states or {})}
        if on_states:
            from airflow_slo_provider.drift.gates import actions

            actions(on_states)
        self.reference, self.current = reference, current
        self.tests, self.thresholds, self.ignore = tuple(tests), thresholds, list(ignore)
        self.where, self.reference_where = where, reference_where
        self.reference_window, self.same_weekday = reference_window, same_weekday
        self.alpha, self.bins, self.exact, self.min_rows = alpha, bins, exact, min_rows
        self.critical, self.max_share, self.weights = critical, max_share, weights
        self.prediction_columns, self.label_columns = tuple(prediction_columns), tuple(label_columns)
        self.report_path, self.asset, self.drift_asset = report_path, asset, drift_asset

    def execute(self, context: Context) -> dict[str, Any]:
        """Compare, record, report; fail or skip where the state says so."""
        report, found = self._find(context)
        context["ti"].xcom_push(key="drift", value=found)
        # Before failing, so that whoever looks at the failed task sees why.
        context["ti"].xcom_push(key="return_value", value=found)
        self._act(report)
        return found

    def _find(self, context: Context) -> tuple[DriftReport, dict[str, Any]]:
        from airflow_slo_provider.drift.checks import checks, summary
        from airflow_slo_provider.drift.gates import actions

        with self._judging(context):
            report = self._compare(context)
            for column in report.ranked():
                self.log.info("%-17s %s: %s", column.verdict.value, column.name, column.message)
            self.log.info("%s: %s", report.verdict.value, report.message)
            uri = report.save(self._path(self.report_path)) if self.report_path else None
            results = checks(
                report,
                name=self.check_name,
                actions=actions(self.on_states),
                chosen=frozenset(self.on_states),
                interval=self._interval(context),
                model_version=self.model_version,
                report_uri=uri,
            )
            record(results, context)
        found = summary(report, report_uri=uri)
        self._tell(report, found, context)
        return report, found

    def _compare(self, context: Context) -> DriftReport:
        from airflow_slo_provider.drift import compare
        from airflow_slo_provider.exceptions import InvalidMeasurement

        reference, current, filters = self._sides(context)
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
                bins=self.bins,
                exact=self.exact,
                min_rows=self.min_rows,
                critical=self.critical,
                max_share=self.max_share,
                weights=self.weights,
                prediction=self.prediction_columns,
                label=self.label_columns,
                progress=self._progress(),
                **filters,
            )
        except ValueError as error:  # a templated argument that turned out to make no sense: the same at every try
            raise InvalidMeasurement(f"{self.task_id}: {error}", reason="bad_argument") from error

    def _sides(self, context: Context) -> tuple[Any, Any, dict[str, Any]]:
        """Return both datasets, and the filters of those that are filtered while they are read."""
        from airflow_slo_provider.drift.windows import profile_windows, trailing, within

        window = self._required_interval(context) if self.time_column else None
        back = (
            trailing(*window, self.reference_window, same_weekday=self.same_weekday) if window and self.reference_window else None
        )
        current = self.reference if self.current is None else self.current
        if self.engine == "sql":
            if back is None:
                old = self._table(self.reference, self.reference_where or "")
            else:
                spans = [self._table(self.reference, self.reference_where or "", span) for span in back]
                old = _merged_tables(spans, self.columns)
            return old, self._table(current, self.where or "", window), {}
        if back is None:
            reference, condition = self._path(self.reference), self.reference_where
        else:
            chosen = {"columns": self.columns, "categorical": self.categorical, "where": self.reference_where}
            reference, condition = profile_windows(self._path(self.reference), str(self.time_column), back, **chosen), None
        where = within(str(self.time_column), window, self.where) if window else self.where
        return reference, self._path(current), {"where": where, "reference_where": condition}

    def _tell(self, report: DriftReport, found: Mapping[str, Any], context: Context) -> None:
        """Put the verdict into asset events."""
        from airflow_slo_provider.drift.gates import State

        events = context["outlet_events"]
        if self.asset is not None:
            events[self.asset].extra = dict(found)
        if self.drift_asset is not None and report.verdict is State.DRIFT:
            events[AssetAlias(name=f"drift: {self.drift_asset.name}")].add(self.drift_asset, extra=dict(found))

    def _act(self, report: DriftReport) -> None:
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        action = self.on_states.get(report.verdict.value, "pass")
        if action == "fail":
            raise AirflowFailException(f"{self.check_name}: {report.verdict.value}: {report.message}")
        if action == "skip":
            raise AirflowSkipException(f"{self.check_name}: {report.verdict.value}: {report.message}")
        if action == "warn":
            self.log.warning("%s: %s: %s", self.check_name, report.verdict.value, report.message)


#: States of :class:`airflow_slo_provider.drift.gates.State`, which no DAG file needs to load.
_TROUBLE = ("drift", "schema_change", "insufficient_data", "error")


def _merged_tables(tables: Sequence[Any], columns: Sequence[str] | None) -> Any:
    """Profile several windows of a table and merge them: all at the first one's edges."""
    first = tables[0].profile(columns)
    for table in tables[1:]:
        first = first.merge(table.profile(columns, like=first))
    return first


class DriftBranchOperator(DriftOperator, BaseBranchOperator):
    """Compares a dataset with its reference, and takes one of several ways.

    =====================================================  ===================================================================
    state                                                  way
    =====================================================  ===================================================================
    drift                                                  ``if_drift``
    ok                                                     ``if_ok``
    warn                                                   ``if_warning``; without it, ``if_ok``
    insufficient_data, schema_change, error                ``if_unknown``; without it, the task fails: what was not found out is
                                                           neither drift nor its absence
    =====================================================  ===================================================================

    .. code-block:: python

        DriftBranchOperator(
            task_id="drifted",
            reference=PROFILE,
            current="/data/{{ ds }}.parquet",
            if_drift="retrain",
            if_ok="keep",
            if_unknown="investigate",
        ) >> [retrain, keep, investigate]

    All other parameters are those of :class:`DriftOperator`.

    :param if_drift: task or task-group ids to follow on drift
    :param if_ok: ids to follow when there is none
    :param if_warning: ids to follow on a warning
    :param if_unknown: ids to follow when it could not be judged
    """

    def __init__(
        self,
        *,
        if_drift: TaskIds,
        if_ok: TaskIds | None = None,
        if_warning: TaskIds | None = None,
        if_unknown: TaskIds | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not if_drift:
            raise ValueError(f"{self.task_id}: if_drift names no task")
        self.if_drift, self.if_ok, self.if_warning, self.if_unknown = if_drift, if_ok, if_warning, if_unknown

    def execute(self, context: Context) -> Any:
        """Choose the way; the summary is pushed before anything is skipped."""
        return BaseBranchOperator.execute(self, context)

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Compare, record, report, and name the tasks to follow."""
        from airflow_slo_provider.drift.gates import State

        report, found = self._find(context)
        context["ti"].xcom_push(key="drift", value=found)
        self._act(report)
        if report.verdict is State.DRIFT:
            return self.if_drift
        if report.verdict is State.OK:
            return self.if_ok
        if report.verdict is State.WARN:
            return self.if_ok if self.if_warning is None else self.if_warning
        if self.if_unknown is None:
            from airflow.sdk.exceptions import AirflowFailException

            raise AirflowFailException(
                f"{self.check_name}: {report.verdict.value}: {report.message}; give if_unknown a way to handle it"
            )
        return self.if_unknown


class DriftProfileOperator(DriftDataFields):
    """Profiles a dataset and stores the profile: at training time, beside the model. Its XCom is the profile's URI, hash and
    rows.

    .. code-block:: python

        DriftProfileOperator(
            task_id="profile", data="s3://training/*.parquet", profile_path="s3://models/churn/7/profile.json"
        )

    :param data: files (path, glob, directory, URI, list), or with ``engine="sql"`` a table or SELECT. (templated)
    :param profile_path: where to write the profile, ending in ``.json``. (templated)
    :param where: rows: a list of (column, operator, value), or with ``engine="sql"`` a condition. (templated)
    :param min_rows: fewer rows fail the task: a reference of nothing would pass everything later
    :param asset: an asset that gets an event with the URI and hash
    :raises ValueError: when the DAG is read, for a path that does not end in ``.json``
    """

    template_fields: Sequence[str] = (*DriftDataFields.template_fields, "data", "profile_path", "where")

    def __init__(
        self, *, data: Any, profile_path: str, where: Any = None, min_rows: int = 500, asset: Asset | None = None, **kwargs: Any
    ) -> None:
        super().__init__(outlets=[*kwargs.pop("outlets", []), *([asset] if asset is not None else [])], **kwargs)
        if "{{" not in profile_path and not profile_path.endswith(".json"):
            raise ValueError(f"{self.task_id}: profile_path {profile_path!r} does not end in .json, by which a profile is known")
        self.data, self.profile_path, self.where, self.min_rows, self.asset = data, profile_path, where, min_rows, asset

    def execute(self, context: Context) -> dict[str, Any]:
        """Profile, check that it can serve as a reference, store."""
        from airflow_slo_provider.drift import profile
        from airflow_slo_provider.drift.windows import within
        from airflow_slo_provider.exceptions import NoData

        with self._judging(context):
            window = self._required_interval(context) if self.time_column else None
            if self.engine == "sql":
                made = self._table(self.data, self.where or "", window).profile(self.columns)
            else:
                where = within(str(self.time_column), window, self.where) if window else self.where
                made = profile(
                    self._path(self.data), self.columns, where=where, categorical=self.categorical, progress=self._progress()
                )
            if made.rows < self.min_rows:
                raise NoData(f"{made.source}: {made.rows} rows; a reference needs {self.min_rows}")
            for column in made.columns.values():
                if column.problem:
                    self.log.warning("%s: %s", column.name, column.problem)
            uri = made.save(self._path(self.profile_path))
        found = {
            "schema_version": 1,
            "profile": uri,
            "hash": made.hash,
            "rows": made.rows,
            "columns": len(made.columns),
            "source": made.source,
        }
        self.log.info("%d rows, %d columns of %s profiled into %s", made.rows, len(made.columns), made.source, uri)
        if self.asset is not None:
            context["outlet_events"][self.asset].extra = dict(found)
        return found
