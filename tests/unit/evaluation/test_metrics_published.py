"""Numbers that others have printed: the acceptance cases, and worked examples of the methods."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from airflow_slo_provider.core.holm import holm
from airflow_slo_provider.evaluation import compare, evaluate
from airflow_slo_provider.evaluation.intervals.closed_form import clopper_pearson, mcnemar, paired_difference, wilson
from tests.support import acceptance


def cases() -> dict[str, Any]:
    return {case["id"]: case for case in json.loads(acceptance("drift", "evaluation.json").read_text())}


def test_area_and_average_precision_match_published_values() -> None:
    case = cases()["sk_auc"]
    found = evaluate(case["y"], case["score"], ["roc_auc", "auc", "average_precision"])
    assert found["roc_auc"].value == found["auc"].value == pytest.approx(case["expect"]["auc"], abs=1e-12)
    assert found["average_precision"].value == pytest.approx(case["expect"]["average_precision"], abs=1e-12)


def test_regression_metrics_match_published_values() -> None:
    case = cases()["sk_rmse"]
    found = evaluate(case["y"], case["pred"], list(case["expect"]))
    assert {name: one.value for name, one in found.items()} == pytest.approx(case["expect"], abs=1e-12)


def test_ndcg_matches_wikipedia_example() -> None:
    case = cases()["wiki_ndcg"]
    found = evaluate(case["rel"], case["score"], "ndcg", groups=["q"] * 6)["ndcg"]
    assert found.value == pytest.approx(case["expect"]["ndcg"], abs=case["tol"])
    assert found.n == 1


def test_ndcg_with_ties_is_average_over_orders() -> None:
    case = cases()["ndcg_partial_ties"]
    assert evaluate(case["rel"], case["score"], "ndcg")["ndcg"].value == pytest.approx(
        case["expect"]["ndcg_tie_averaged"], abs=case["tol"]
    )


def test_mcnemar_matches_approval_table() -> None:
    case = cases()["mcnemar"]
    b, c, expect = case["b"], case["c"], case["expect"]
    statistic, p = mcnemar(b, c)
    assert (statistic, p) == pytest.approx((expect["x2"], expect["p"]), rel=1e-9)
    assert mcnemar(b, c, exactly=True)[1] == pytest.approx(expect["p_exact_binomial"], rel=1e-9)
    # The same table as rows: 794 approved twice, 570 never, 150 and 86 changed their minds.
    first = np.repeat([1, 1, 0, 0], [794, 150, 86, 570])
    second = np.repeat([1, 0, 1, 0], [794, 150, 86, 570])
    found = compare(np.ones(1600, dtype=int), first, second, "accuracy")
    assert (found.delta, found.pvalue) == pytest.approx(((86 - 150) / 1600, expect["p"]), rel=1e-9)
    assert (found.method, found.verdict) == ("mcnemar", "fail")


def test_mcnemar_of_few_discordant_pairs_is_exact() -> None:
    # R: binom.test(3, 12)$p.value
    assert mcnemar(3, 9)[1] == pytest.approx(0.145996094, abs=1e-9)
    assert mcnemar(0, 0) == (0.0, 1.0)
    assert mcnemar(5, 5)[1] == 1.0


# Ovarian cancer, 43 patients with all three tests [DeLong, DeLong and Clarke-Pearson 1988], as printed in the SAS/STAT user's
# guide, "Comparing Receiver Operating Characteristic Curves": albumin, total protein, 10 - K-G score, and the outcome.
OVARIAN = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1 3.7 6.7 6 1
3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0 4.0 6.6 6 0 3.5 5.8 6 1
3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1 4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1
3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1 2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1
3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""


@pytest.fixture
def ovarian() -> dict[str, Any]:
    rows = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4)
    return {"albumin": rows[:, 0], "protein": rows[:, 1], "kg": 10 - rows[:, 2], "y": rows[:, 3].astype(int)}


@pytest.mark.parametrize(
    ("test", "area", "low", "high"),
    [("kg", 0.7258, 0.5243, 0.9273), ("protein", 0.6478, 0.4518, 0.8439), ("albumin", 0.7366, 0.5549, 0.9182)],
)
def test_delong_intervals_match_published_values(
    ovarian: dict[str, Any], test: str, area: float, low: float, high: float
) -> None:
    found = evaluate(ovarian["y"], ovarian[test], "roc_auc")["roc_auc"]
    assert (found.value, found.low, found.high) == pytest.approx((area, low, high), abs=5e-5)
    assert found.method == "delong"


@pytest.mark.parametrize(("test", "delta", "pvalue"), [("protein", -0.0780, 0.4561), ("albumin", 0.0108, 0.9102)])
def test_delong_differences_match_published_values(ovarian: dict[str, Any], test: str, delta: float, pvalue: float) -> None:
    found = compare(ovarian["y"], ovarian["kg"], ovarian[test], "roc_auc")
    assert (found.delta, found.pvalue) == pytest.approx((delta, pvalue), abs=5e-5)
    assert (found.method, found.verdict) == ("delong", "inconclusive")


@pytest.mark.parametrize(
    ("good", "total", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3 (Wilson) and method 5 (Clopper-Pearson) below.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_matches_published_values(good: int, total: int, low: float, high: float) -> None:
    assert wilson(good, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("good", "total", "low", "high"),
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_clopper_pearson_interval_matches_published_values(good: int, total: int, low: float, high: float) -> None:
    assert clopper_pearson(good, total) == pytest.approx((low, high), abs=5e-5)
    assert evaluate([1] * total, [1] * good + [0] * (total - good), "accuracy", method="exact")["accuracy"].low == pytest.approx(
        low, abs=5e-5
    )


def test_paired_difference_matches_published_interval() -> None:
    # By hand from the formula of Bonett and Price 2012: (f + 1) / (n + 2) in each discordant cell.
    low, high = paired_difference(10, 20, 98)
    p, q, n = 11 / 100, 21 / 100, 100
    half = 1.959964 * ((p + q - (q - p) ** 2) / n) ** 0.5
    assert (low, high) == pytest.approx((q - p - half, q - p + half), abs=1e-6)


def test_holm_matches_r() -> None:
    # R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.005), "holm")
    assert holm([0.01, 0.02, 0.03, 0.04, 0.005]) == pytest.approx([0.04, 0.06, 0.06, 0.06, 0.025])
    assert holm([]) == []
