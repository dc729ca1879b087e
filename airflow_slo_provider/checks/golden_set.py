"""The check ``golden_set``: evaluate a model, optionally with the champion, on a golden set, next to the model.

The spec, with the parameters of ``GoldenSetEvaluationOperator`` under the same names::

    {"golden_set": "/data/golden.parquet",                    # a path in the pod
     "predictor": {"function": "my_model.serving:predict"},   # or a column, a file, {"model_file": {...}}, {"mlflow": {...}}
     "metrics": ["accuracy", "log_loss"],
     "thresholds": {"accuracy": {"fail": 0.90, "warn": 0.92}},
     "champion": "champion_prediction",                       # optional, like predictor; an empty text is an error, unless
                                                              # "champion_may_be_missing": true
     "name": "checkout", "model_version": "7"}

A function takes a DataFrame of features and returns one value per row, or class probabilities. As in a DAG, ``trusted`` is
required for a file that can execute code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.checks.kinds import check_keys
from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.exceptions import CheckError
from airflow_slo_provider.results import CheckResult

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.models.predictors import Predictor
    from airflow_slo_provider.evaluation.rows.golden_set import GoldenSet
    from airflow_slo_provider.evaluation.verdict.assessment import EvaluationPlan

_REQUIRED = ("golden_set", "predictor", "metrics")
_SCHEMA = ("id_column", "label_column", "features", "group_column", "weight_column", "slices")
_SLICING = ("slice_margin", "slice_min_rows")
#: Keys that are passed to the plan unchanged.
_PLAN = ("confidence", "decide_on", "min_coverage", "min_rows", "pos_label", "decision_threshold", "replicates")
_OTHERS = ("margin", "champion", "champion_may_be_missing", "thresholds", "compare_on", "labels", "name", "model_version")


def run(spec: Mapping[str, Any]) -> Iterable[CheckResult]:
    """Evaluate a model on a golden set.

    :param spec: the spec, see the module
    :raises CheckError: for an invalid spec
    :raises MeasurementError: when the golden set or the predictions cannot be read
    :raises ValueError: for invalid metrics, thresholds or predictors
    """
    from airflow_slo_provider.evaluation.models.context import PredictionContext
    from airflow_slo_provider.evaluation.report.ledger_records import to_check_results
    from airflow_slo_provider.evaluation.verdict.assessment import assess

    check_keys("golden_set", spec, known=(*_REQUIRED, *_SCHEMA, *_SLICING, *_PLAN, *_OTHERS), required=_REQUIRED)
    plan = _plan(spec)
    predictor = _predictor(spec["predictor"])
    champion = _champion(spec)
    golden = _read(spec, [predictor, champion])
    context = PredictionContext()
    candidate = predictor.predict(golden, context)
    assessment = assess(plan, golden, candidate, champion.predict(golden, context) if champion else None)
    return to_check_results(
        assessment,
        spec.get("name") or Path(spec["golden_set"]).name,
        model_version=spec.get("model_version") or candidate.model_version,
        evidence={"golden_set": spec["golden_set"]},
    )


def _plan(spec: Mapping[str, Any]) -> EvaluationPlan:
    from airflow_slo_provider.evaluation.metrics.metric_names import find_metrics, select_compared_metrics
    from airflow_slo_provider.evaluation.verdict.assessment import EvaluationPlan
    from airflow_slo_provider.evaluation.verdict.segments import SegmentRule
    from airflow_slo_provider.evaluation.verdict.thresholds import read_margin, read_threshold

    metrics = find_metrics(spec["metrics"])
    by_name = {metric.name: metric for metric in metrics}
    thresholds = spec.get("thresholds") or {}
    champion = "champion" in spec
    compare_on = select_compared_metrics(metrics, thresholds=thresholds, compare_on=spec.get("compare_on"), champion=champion)
    sizes = {key.removeprefix("slice_"): spec[key] for key in _SLICING if key in spec}
    return EvaluationPlan(
        metrics=metrics,
        thresholds={name: read_threshold(value, by_name[name]) for name, value in thresholds.items()},
        compare_on=compare_on if champion else (),
        margin=read_margin(spec.get("margin", 0.0)),
        slices=SegmentRule(**sizes) if spec.get("slices") else None,
        labels=text_list(spec["labels"]) if spec.get("labels") is not None else None,
        **{key: spec[key] for key in _PLAN if key in spec},
    )


def _champion(spec: Mapping[str, Any]) -> Predictor | None:
    """Build the champion's predictor; None if the spec has no champion, or an empty one that may be missing.

    :raises CheckError: when it is empty and must not be: a template that rendered to an empty text does not mean "no champion"
    """
    from airflow_slo_provider.evaluation.models.predictors import get_location

    if "champion" not in spec:
        return None
    value = spec["champion"]
    champion = _predictor(value) if value else None
    if champion is not None and get_location(champion) != "":
        return champion
    if not spec.get("champion_may_be_missing"):
        advice = "leave it out, or write champion_may_be_missing for a first model"
        raise CheckError(f"check golden_set: champion is {value!r}; {advice}", reason="bad_spec")
    return None


def _read(spec: Mapping[str, Any], predictors: Iterable[Predictor | None]) -> GoldenSet:
    from airflow_slo_provider.evaluation.models.predictors import list_columns
    from airflow_slo_provider.evaluation.rows.golden_set import Schema, make_golden_set, read_table

    features = spec.get("features")
    schema = Schema(
        id=spec.get("id_column", "id"),
        label=spec.get("label_column", "label"),
        features=None if features is None else text_list(features),
        group=spec.get("group_column"),
        segments=text_list(spec.get("slices")),
        weight=spec.get("weight_column"),
        ignored=list_columns(predictors),
    )
    return make_golden_set(read_table(Path(spec["golden_set"])), schema, spec["golden_set"])


def _predictor(value: Any) -> Predictor:
    """Build a predictor from a value of the spec.

    :raises CheckError: when the value is invalid
    """
    from airflow_slo_provider.evaluation.models.predictors import Column, PredictionFile, make_predictor
    from airflow_slo_provider.evaluation.models.worker_models import Function, MlflowModel, ModelFile

    if isinstance(value, str):
        return make_predictor(value)
    kinds = {"column": Column, "file": PredictionFile, "model_file": ModelFile, "mlflow": MlflowModel}
    function = _import_function(value["function"]) if isinstance(value, Mapping) and "function" in value else None
    try:
        if function is not None:
            return Function(**{**value, "function": function})
        if isinstance(value, Mapping) and len(value) == 1:
            ((kind, options),) = value.items()
            if kind in kinds and isinstance(options, Mapping):
                predictor: Predictor = kinds[kind](**options)
                return predictor
    except TypeError as error:
        raise CheckError(f"predictor {value!r}: {error}", reason="bad_spec") from error
    advice = f"write a column, a file, or one of function, {', '.join(kinds)} with its parameters"
    raise CheckError(f"predictor {value!r} is not a predictor; {advice}", reason="bad_spec")


def _import_function(location: str) -> Any:
    module, _, name = str(location).partition(":")
    try:
        return getattr(import_module(module), name)
    except (AttributeError, ValueError) as error:
        raise CheckError(f"there is no function {location!r}; write module:function", reason="bad_spec") from error
