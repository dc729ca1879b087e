"""Reports of a comparison: HTML, JSON, text, hints, checks; thresholds, segments and stored profiles."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider import drift
from airflow_slo_provider.drift.report.ledger_records import checks, summary
from airflow_slo_provider.drift.report.text import table
from airflow_slo_provider.drift.verdict.thresholds import actions
from airflow_slo_provider.exceptions import InvalidMeasurement
from airflow_slo_provider.results import CheckResult

N = 3000
EVIL = '<script>alert("1")</script>'


def sides() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(4)
    before = pd.DataFrame(
        {
            EVIL: rng.normal(size=N),
            "metres": rng.lognormal(3, 1, N),
            "country": rng.choice(["de", "fr"], N),
            "steady": rng.integers(0, 9, N),
        }
    )
    after = pd.DataFrame(
        {
            EVIL: rng.normal(1, 1, N),
            "metres": rng.lognormal(3, 1, N) * 1000,
            "country": rng.choice(["DE", EVIL], N),
            "steady": rng.integers(0, 9, N),
        }
    )
    return before, after


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


def test_html_report_has_no_scripts_and_no_external_resources(tmp_path) -> None:
    report = drift.compare(*sides())
    drift.save_report(report, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href", "action")]
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert EVIL in page.texts
    assert page.tags.count("svg") == 4
    names = [word for word in page.texts if word in report.columns]
    assert names == [column.name for column in report.ranked()]
    assert names[-1] == "steady"
    assert len(text) < 60_000


def test_json_report_contains_all_statistics(tmp_path) -> None:
    report = drift.compare(*sides())
    drift.save_report(report, tmp_path / "r.json")
    body = json.loads((tmp_path / "r.json").read_text())
    assert body["format"] == "airflow-slo/drift-report"
    assert body["verdict"] == "drift"
    column = body["columns"][EVIL]
    assert column["psi"]["value"] == report[EVIL].psi.value
    assert column["ks"]["lower"] == column["ks"]["upper"] == report[EVIL].ks.statistic
    assert column["adjusted"]["ks"] < 0.01
    assert sum(column["histogram"]["current"]) == pytest.approx(1)
    assert column["nulls"]["change"] == 0


def test_compare_effect_without_significance_is_not_drift() -> None:
    """Forty rows can differ much by chance; a large effect alone is not drift."""
    rng = np.random.default_rng(5)
    report = drift.compare({"x": rng.normal(size=40)}, {"x": rng.normal(0.3, 1, 40)}, min_rows=10)
    assert report["x"].ks.statistic >= 0.1
    assert report["x"].verdict == "ok"


@pytest.mark.parametrize(
    ("before", "after", "hint"),
    [
        (np.arange(1.0, 2001), np.arange(1.0, 2001) * 1000, "1000 times the reference's: a factor of thousand"),
        (np.arange(1.0, 2001), -np.arange(1.0, 2001), "changed sign"),
        (np.arange(2000.0), np.full(2000, 7.0), "every value is 7: a default"),
        (["de", "fr"] * 1000, ["DE", "fr"] * 1000, "'de' is now written 'DE'"),
        (["a"] * 600 + ["b"] * 1400, ["zz"] * 610 + ["b"] * 1390, "'a' (30.0%) is gone and 'zz' (30.5%) is new"),
        (["de", "fr"] * 1000, ["fr"] * 2000, "every value is 'fr', as 50.0% of the reference's: perhaps a single partition"),
        (["de", "fr"] * 1000, ["n/a"] * 2000, "every value is 'n/a': a default"),
        (np.arange(2000.0), np.where(np.arange(2000) % 3 == 0, np.nan, np.arange(2000.0)), "nulls jumped by 33.4%"),
        (
            pd.date_range("2026-01-01", periods=2000, freq="h"),
            pd.date_range("2026-06-01 10:00", periods=2000, freq="s"),
            "all times lie within",
        ),
    ],
)
def test_compare_known_cause_has_hint(before, after, hint) -> None:
    found = drift.compare(pd.DataFrame({"x": before}), pd.DataFrame({"x": after}))["x"]
    assert found.verdict == "drift"
    assert any(hint in text for text in found.hints), found.hints


def test_text_report_lists_columns_and_verdict() -> None:
    lines = table(drift.compare(*sides())).splitlines()
    assert lines[0].split() == ["COLUMN", "VERDICT", "PSI", "D", "NULLS", "WHY"]
    assert lines[-2].startswith("drift: 4 columns: 3 drift, 1 ok")


def test_compare_thresholds_by_column_and_pattern_are_applied() -> None:
    before, after = sides()
    report = drift.compare(before, after, thresholds={"met*": {"psi": None, "psi_warn": None, "ks": None, "out_of_range": None}})
    assert report["metres"].verdict == "ok"
    assert report["country"].verdict == "drift"
    with pytest.raises(ValueError, match="no gate 'psy'"):
        drift.compare(before, after, thresholds={"met*": {"psy": 1}})
    with pytest.raises(ValueError, match="above 0"):
        drift.compare(before, after, thresholds={"psi": float("nan")})
    with pytest.raises(ValueError, match="cannot be reached"):
        drift.compare(before, after, thresholds={"ks": 2})


def test_dataset_verdict_follows_critical_columns_and_max_share() -> None:
    before, after = sides()
    after["metres"], after["country"] = before["metres"], before["country"]
    assert drift.compare(before, after).verdict == "drift"
    assert drift.compare(before, after, critical=["metres"]).verdict == "warn"
    assert drift.compare(before, after, critical=["<*"]).verdict == "drift"
    assert drift.compare(before, after, max_share=0.25).verdict == "warn"
    assert drift.compare(before, after, max_share=0.2).verdict == "drift"
    assert drift.compare(before, after, max_share=0.2, weights={EVIL: 0.1}).verdict == "warn"
    assert drift.compare(before, after, max_share=0.5, weights={EVIL: 10}).verdict == "drift"
    assert drift.compare(before, after, critical=["metres"], prediction=[EVIL]).verdict == "drift"
    assert drift.compare(before, after, prediction=[EVIL])[EVIL].role == "prediction"
    assert drift.compare(before, after, max_share=0.25).drifted_share == 0.25


def test_compare_segments_finds_drift_the_whole_hides() -> None:
    """A shift in one segment is found although the verdict of the whole may be ok."""
    rng = np.random.default_rng(8)
    country = rng.choice(["de", "fr"], 8000)
    before = pd.DataFrame({"country": country, "x": rng.normal(size=8000)})
    after = pd.DataFrame({"country": country, "x": rng.normal(size=8000) + np.where(country == "de", 0.0, 0.6)})
    found = drift.compare_segments(before, after, "country")
    assert {name: str(report.verdict) for name, report in found.items()} == {"de": "ok", "fr": "drift"}
    assert found["fr"].alpha == 0.005
    flags = drift.compare_segments(before.assign(f=country == "de"), after.assign(f=country == "de"), "f", columns=["x"])
    assert set(flags) == {"True", "False"}
    # Options that name the segment's own column are ignored within a segment.
    for options in (
        {"critical": ["x", "country"]},
        {"thresholds": {"country": {"psi": 0.3}, "x": {"psi": 0.2}}},
        {"prediction": "country"},
        {"columns": "x"},
    ):
        found = drift.compare_segments(before, after, "country", **options)
        assert str(found["fr"].verdict) == "drift", options


def test_compare_segments_too_few_rows_is_insufficient_data() -> None:
    rows = pd.DataFrame({"country": ["de", "fr"] * 20, "x": np.arange(40.0)})
    found = drift.compare_segments(rows, rows, "country", min_rows=100)
    assert {str(report.verdict) for report in found.values()} == {"insufficient_data"}
    nowhere = rows.assign(country=pd.array([None] * 40, dtype="string"))
    with pytest.raises(InvalidMeasurement, match="country has no value on either side"):
        drift.compare_segments(nowhere, nowhere, "country")


def test_checks_and_summary_of_300_columns_are_small() -> None:
    rng = np.random.default_rng(9)
    before = pd.DataFrame(rng.normal(size=(600, 300)), columns=[f"column_{i}" * 8 for i in range(300)])
    report = drift.compare(before, before + 5)
    found = summary(report, report_uri="s3://x")
    assert len(json.dumps(found)) < 8000
    results = checks(report, name="d", actions=actions(None))
    assert len(results) == 301
    assert {str(result.verdict) for result in results} == {"fail"}
    assert all(CheckResult.from_dict(result.to_dict()) == result for result in results)


def test_profile_file_round_trip_detects_changes(tmp_path) -> None:
    before, _ = sides()
    profile = drift.profile(before)
    path = tmp_path / "deep" / "profile.json"
    profile.save(path)
    assert drift.load_profile(path) == profile
    assert not list(path.parent.glob("*.part"))
    body = json.loads(path.read_text())
    assert body["columns"]["metres"]["edges"] == list(profile["metres"].edges)
    assert len(body["columns"]["metres"]["edges"]) == 9
    mean, deviation = profile["metres"].moments()
    assert (mean, deviation) == (pytest.approx(before["metres"].mean()), pytest.approx(before["metres"].std(ddof=0)))
    assert drift.profile({"x": [0.0] * 30 + [1.0] * 70})["x"].atoms(0.3) == {0.0: 30, 1.0: 70}
    body["columns"]["metres"]["rows"] += 1
    path.write_text(json.dumps(body))
    with pytest.raises(InvalidMeasurement, match="do not match their hash"):
        drift.load_profile(path)
    path.write_text(json.dumps({**body, "version": 2}))
    with pytest.raises(InvalidMeasurement, match="version 2"):
        drift.load_profile(path)
    path.write_text(json.dumps(body)[:-100])
    with pytest.raises(InvalidMeasurement, match="cut off"):
        drift.load_profile(path)
