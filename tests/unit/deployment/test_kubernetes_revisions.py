"""Revisions, recorded changes and known good versions, without a server."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_slo_provider.deployment.kubernetes.api import KubernetesRequest, status_error
from airflow_slo_provider.deployment.kubernetes.changes import ANNOTATION, RecordedChange, read_changes, with_change
from airflow_slo_provider.deployment.kubernetes.revisions import Revision, digest, model_version_of, selector_text
from airflow_slo_provider.deployment.registries.known_good import JUDGING, good_versions
from airflow_slo_provider.exceptions import DeploymentError
from airflow_slo_provider.results import CheckResult, Verdict

NOW = datetime(2026, 11, 24, 5, tzinfo=UTC)


def recorded_change(key: str, minutes: int = 0) -> RecordedChange:
    at = (NOW + timedelta(minutes=minutes)).isoformat()
    return RecordedChange(key=key, action="rollback", at=at, from_revision=2, to_revision=1, was="a", became="b")


class TestChanges:
    def test_written_changes_are_read_back(self) -> None:
        first = with_change({"team": "ml"}, [], recorded_change("k1"))
        second = with_change({"team": "ml"}, read_changes(first), recorded_change("k2", 1))
        assert read_changes(second) == [recorded_change("k1"), recorded_change("k2", 1)]
        assert second["team"] == "ml"

    def test_changes_of_deployment_and_replica_sets_are_merged(self) -> None:
        old, new = with_change({}, [], recorded_change("k1")), with_change({}, [], recorded_change("k2", 1))
        assert [one.key for one in read_changes(new, old, new, {})] == ["k1", "k2"]

    def test_only_the_newest_ten_changes_are_kept(self) -> None:
        known = [recorded_change(f"k{number}", number) for number in range(15)]
        kept = read_changes(with_change({}, known, recorded_change("last", 99)))
        assert [one.key for one in kept] == [*(f"k{number}" for number in range(6, 15)), "last"]

    def test_fewer_changes_are_kept_if_annotations_are_full(self) -> None:
        known = [recorded_change(f"k{number}" + "x" * 500, number) for number in range(9)]
        others = {"long": "x" * (256 * 1024 - 2_000)}
        after = with_change(others, known, recorded_change("last", 99))
        assert sum(len(key) + len(value) for key, value in after.items()) <= 256 * 1024
        kept = [one.key for one in read_changes(after)]
        assert kept[-1] == "last"
        assert 1 < len(kept) < 10

    @pytest.mark.parametrize(
        "text",
        ["", "not json", "{}", "[1]", "[{}]", '[{"key": 3}]', "null",
         json.dumps([{**vars(recorded_change("k")), "at": "yesterday"}]),
         json.dumps([{**vars(recorded_change("k")), "at": "2026-11-24T05:00:00"}])],
    )  # fmt: skip
    def test_invalid_changes_are_skipped(self, text: str) -> None:
        assert read_changes({ANNOTATION: text}) == []

    def test_unknown_fields_of_a_change_are_ignored(self) -> None:
        assert read_changes({ANNOTATION: json.dumps([{**vars(recorded_change("k")), "more": 1}])}) == [recorded_change("k")]


class TestRevisions:
    def test_revision_matches_by_number_image_or_version(self) -> None:
        revision = Revision(number=5, replica_set="x", history=(2,), images=("i:1", "init:1"), model_version="7")
        assert all(revision.matches_any([name]) for name in (5, 2, "i:1", "init:1", "7"))
        assert not any(revision.matches_any([name]) for name in (7, "5", "2", "i", 0, ""))
        assert not Revision(number=0, replica_set="x").matches_any([0])

    def test_selector_text_builds_the_query_parameter(self) -> None:
        expressions = [
            {"key": "a", "operator": "In", "values": ["z", "y"]},
            {"key": "b", "operator": "NotIn", "values": ["x"]},
            {"key": "c", "operator": "Exists"},
            {"key": "d", "operator": "DoesNotExist"},
        ]
        selector: dict[str, Any] = {"matchLabels": {"k": "v", "app": "m"}, "matchExpressions": expressions}
        assert selector_text({"spec": {"selector": selector}}) == "app=m,k=v,a in (y,z),b notin (x),c,!d"
        selector["matchExpressions"] = [{"key": "a", "operator": "Gt"}]
        with pytest.raises(DeploymentError, match="'Gt' is unknown"):
            selector_text({"spec": {"selector": selector}})

    def test_digest_ignores_hash_label_nulls_and_empty_metadata(self) -> None:
        labels = {"app": "m"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        same: list[dict[str, Any]] = [
            {**template, "metadata": {"labels": {**labels, "pod-template-hash": "x"}}},
            {**template, "metadata": {"labels": labels, "creationTimestamp": None}},
            {**template, "metadata": {"labels": labels, "annotations": {}}},
        ]
        assert {digest(one) for one in same} == {digest(template)}
        assert digest({**template, "metadata": {"labels": {"app": "n"}}}) != digest(template)
        assert digest({**template, "spec": {**template["spec"], "volumes": [{"name": "v", "emptyDir": {}}]}}) != digest(template)

    @pytest.mark.parametrize(
        ("template", "version"),
        [
            ({"metadata": {"labels": {"model-version": "3"}}}, "3"),
            ({"metadata": {"labels": {"app.kubernetes.io/version": "4"}}}, "4"),
            ({"spec": {"containers": [{"env": [{"name": "MODEL_VERSION", "value": "5"}]}]}}, "5"),
            ({"spec": {"containers": [{"env": [{"name": "MODEL_VERSION", "valueFrom": {}}]}]}}, None),
            ({}, None),
        ],
    )
    def test_model_version_is_read_from_labels_or_environment(self, template: dict[str, Any], version: str | None) -> None:
        assert model_version_of(template) == version


def check(version: str | None, verdict: str, minutes: int = 0, *, kind: str = "golden_set", name: str = "m") -> CheckResult:
    return CheckResult(
        kind=kind, name=name, verdict=Verdict(verdict), model_version=version, checked_at=NOW + timedelta(minutes=minutes)
    )


@pytest.mark.parametrize(
    ("results", "good"),
    [
        ([], []),
        ([check("1", "pass")], ["1"]),
        ([check(None, "pass")], []),
        ([check("1", "pass"), check("1", "fail", 1)], []),
        ([check("1", "fail"), check("1", "pass", 1)], ["1"]),
        ([check("1", "pass", 1), check("1", "fail")], ["1"]),
        ([check("1", "pass"), check("1", "unknown", 1)], []),
        ([check("1", "pass"), check("1", "warn", 1, kind="drift")], ["1"]),
        ([check("1", "warn")], []),
        ([check("1", "pass"), check("1", "fail", kind="drift")], []),
        ([check("2", "pass", 5), check("1", "pass", 9), check("3", "pass")], ["3", "2", "1"]),
        (
            [check("1", "pass"), check("1", "unknown", name="m/segment region=north"), check("1", "pass", name="m/accuracy")],
            ["1"],
        ),
        ([check("1", "fail"), check("1", "pass", name="m/accuracy")], []),
        ([check("1", "pass", kind="deployment"), check("2", "pass", kind="decision")], []),
        # That it was promoted, that it is young, that its requests were counted: nobody has measured how good it is.
        ([check("1", "pass", kind=kind) for kind in ("promote", "rollback", "freshness", "requests")], []),
        ([check("1", "pass"), check("1", "fail", 1, kind="freshness")], ["1"]),
        ([check("1", "pass"), check("1", "pass", kind="promote"), check("1", "pass", kind="promote", name="m@canary")], ["1"]),
        # One latency check: a row for each span and tier, none for the whole.
        ([check("1", "pass", kind="latency", name=name) for name in ("s/predict/p50", "s/predict/p99", "s/version")], ["1"]),
        (
            [check("1", "pass", kind="latency", name="s/predict/p50"), check("1", "fail", kind="latency", name="s/predict/p99")],
            [],
        ),
        ([check("1", "warn", kind="drift"), check("1", "warn", kind="drift", name="m.age"), check("1", "pass")], ["1"]),
    ],
)
def test_good_versions_by_check_results(results: list[CheckResult], good: list[str]) -> None:
    assert good_versions(results) == good


def test_good_versions_with_checks_of_two_models_is_ambiguous() -> None:
    results = [check("1", "pass", name="a"), check("1", "fail", name="b"), check("2", "pass", name="b")]
    with pytest.raises(DeploymentError, match="golden_set checks a, b"):
        good_versions(results)
    assert good_versions(results, checks=["a"]) == ["1"]
    assert good_versions(results, checks=["golden_set/b"]) == ["2"]
    latency = [check("1", "pass", kind="latency", name=f"{service}/predict/p99") for service in ("a", "b")]
    with pytest.raises(DeploymentError, match="latency checks a, b,"):
        good_versions(latency)
    assert good_versions(latency, checks=["latency/a"]) == good_versions(latency, checks=["b"]) == ["1"]


def test_good_version_must_have_a_result_of_each_named_check() -> None:
    results = [check("1", "pass"), check("1", "warn", kind="latency", name="s/predict/p99"), check("2", "pass")]
    assert good_versions(results, checks=["m"]) == ["1", "2"]
    assert good_versions(results, checks=["m", "latency/s"]) == ["1"]
    assert good_versions(results, checks=["m", "latency/t"]) == []
    # A kind that judges by itself nothing, and does where it is named; what was done never does.
    assert good_versions([check("1", "pass", kind="freshness")], checks=["freshness/m"]) == ["1"]
    assert good_versions([check("1", "pass", kind="promote")], checks=["m"]) == []


def test_judging_kinds_are_the_kinds_that_operators_record() -> None:
    from airflow_slo_provider.drift.report.ledger_records import KIND as DRIFT
    from airflow_slo_provider.evaluation.report.ledger_records import KIND as GOLDEN_SET
    from airflow_slo_provider.tracing.analysis.assessment import KIND as LATENCY

    assert {DRIFT, GOLDEN_SET, LATENCY} == JUDGING


@pytest.mark.parametrize("checks", [None, ["m"]])
def test_culprit_or_rolled_back_version_is_not_good(checks: list[str] | None) -> None:
    passed = [check("7", "pass"), check("8", "pass", 1), check("9", "pass", 2)]
    back = replace(check("8", "pass", kind="rollback", name="m@champion"), evidence={"from": "9", "to": "8", "now": "8"})
    assert good_versions([*passed, back], checks=checks) == ["7", "8"]
    assert good_versions([*passed, check("8", "warn", kind="culprit", name="dag.task")], checks=checks) == ["7", "9"]
    # Named by two incidents: two accusations, not two models.
    twice = [check("8", "warn", kind="culprit", name=name) for name in ("one.culprit", "two.culprit")]
    assert good_versions([*passed, back, *twice], checks=checks) == ["7"]
    for nothing in ({"from": "8", "to": "8"}, {"from": None, "to": "8"}, {}):
        assert good_versions([*passed, replace(back, evidence=nothing)], checks=checks) == ["7", "8", "9"]


@pytest.mark.parametrize("body", [None, b"", b"<html>nginx</html>", b"[]", b'{"message": null}', b"\xff\xfe"])
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 409, 410, 422, 429, 500, 504])
def test_status_error_with_any_body_has_a_message(status: int, body: bytes | None) -> None:
    fault = status_error(status, body, KubernetesRequest("patch", "deployments", "serving", "model"))
    assert ('deployments.apps "model" not found' if status == 404 else "patch deployments serving/model: ") in str(fault)
    assert fault.http_status == status
    assert fault.transient == (status in (401, 409, 429, 500, 504))


@pytest.mark.parametrize(
    ("verb", "said", "reason"),
    [
        ("patch", 'User "u" cannot patch resource "deployments"', "forbidden"),
        ("patch", "forbidden", "forbidden"),
        ("patch", "", "forbidden"),
        ("patch", 'admission webhook "x" denied the request: frozen', "denied"),
        ("patch", "is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", "denied"),
        ("patch", 'User "denied" cannot patch resource "deployments"', "forbidden"),
        ("get", "denied", "forbidden"),
    ],
)
def test_status_403_distinguishes_missing_permission_from_admission_denial(verb: str, said: str, reason: str) -> None:
    body = json.dumps({"kind": "Status", "message": said})
    fault = status_error(403, body, KubernetesRequest(verb, "deployments", "serving", "m"))
    assert (fault.reason, fault.transient) == (reason, False)
    assert said in str(fault)
    assert (f"needs the verb '{verb}' on 'deployments'" in str(fault)) == (reason == "forbidden")
