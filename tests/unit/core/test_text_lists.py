"""Parameters that accept one text or several."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.deployment.registries.known_good import good_versions
from airflow_slo_provider.drift import compare, profile
from airflow_slo_provider.evaluation.metrics.metric_names import find_metrics, select_compared_metrics
from airflow_slo_provider.results import CheckResult
from airflow_slo_provider.tracing.analysis.collector import Collector


@pytest.mark.parametrize(
    ("given", "expected"), [("psi", ("psi",)), (("a", "b"), ("a", "b")), (["a"], ("a",)), (None, ()), (pd.Index(["a"]), ("a",))]
)
def test_text_list_single_text_is_not_split(given: Any, expected: tuple[str, ...]) -> None:
    assert text_list(given) == expected


@pytest.mark.parametrize("given", [3, b"psi", 2.5])
def test_text_list_other_types_are_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="write a text, or a list of texts"):
        text_list(given)


def test_domain_functions_accept_a_single_text() -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0] * 300, "sex": [1.0, 0.0] * 300})
    assert list(profile(frame, "age").columns) == ["age"]
    found = compare(frame, frame, columns="age", tests="psi", label="age", categorical="age")
    assert list(found.columns) == ["age"]
    assert select_compared_metrics(find_metrics("accuracy"), thresholds=(), compare_on="accuracy", champion=True) == ("accuracy",)
    assert Collector(version_keys="model")._keys == ("model",)
    check = CheckResult(kind="golden_set", name="fraud", verdict="pass", model_version="7")  # type: ignore[arg-type]
    assert good_versions([check], checks="fraud") == ["7"]
