"""Every published document is read, or refused with a message that names the field."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from pathlib import Path

import pytest

from airflow_slo_provider.exceptions import DocumentError
from airflow_slo_provider.slo import load, read
from airflow_slo_provider.slo.model import BudgetingMethod, RatioMetric, ThresholdMetric
from tests.support import acceptance

V1ALPHA = "OpenSLO v1alpha is not read; write the document in openslo/v1"
V2ALPHA = "OpenSLO v2alpha is not read; write the document in openslo/v1"
BAD_NAME = "is not an RFC 1123 name"
SECRET = "a secret must not be written into a document; keep it in an Airflow connection and name that with airflowConnId"

#: Each file: the SLOs that are read from it, and (line, path, words of the message) of each fault and each warning.
Expected = list[tuple[int, str, str]]
FILES: dict[str, tuple[list[str], Expected, Expected]] = {
    "examples-v1/alert_conditions.yaml": ([], [], []),
    "examples-v1/alert_notification_targets.yaml": ([], [], []),
    "examples-v1/alert_policies.yaml": (
        [],
        [
            (16, "spec.conditions[0].conditionRef", "there is no AlertCondition named 'cpu-usage-breach'"),
            (66, "spec.conditions[0].conditionRef", "there is no AlertCondition named 'cpu-usage-breach'"),
        ],
        [
            (18, "spec.notificationTargets[0].targetRef", "no AlertNotificationTarget document 'on-call-mail-notification' here"),
            (50, "spec.notificationTargets[0].targetRef", "no AlertNotificationTarget document 'on-call-pd-notification' here"),
        ],
    ),
    "examples-v1/data_sources.yaml": (
        [],
        [(30, "spec.connectionDetails[0].apiKey", SECRET), (31, "spec.connectionDetails[1].appKey", SECRET)],
        [(13, "spec.connectionDetails", "the url is not used"), (28, "spec.type", "data of type 'Datadog' cannot be measured")],
    ),
    "examples-v1/services.yaml": ([], [(13, "metadata.name", "two documents of kind Service are named 'example-service'")], []),
    "examples-v1/slis.yaml": (
        [],
        [],
        [
            (18, "spec.ratioMetric.good.metricSource.metricSourceRef", "there is no DataSource document 'my-datadog'"),
            (19, "spec.ratioMetric.good.metricSource.type", "'Datadog' cannot be measured"),
            (24, "spec.ratioMetric.total.metricSource.metricSourceRef", "there is no DataSource document 'my-datadog'"),
            (25, "spec.ratioMetric.total.metricSource.type", "'Datadog' cannot be measured"),
            (44, "spec.ratioMetric.bad.metricSource.metricSourceRef", "there is no DataSource document 'appdynamics'"),
            (45, "spec.ratioMetric.bad.metricSource.type", "'AppDynamics' cannot be measured"),
            (51, "spec.ratioMetric.total.metricSource.metricSourceRef", "there is no DataSource document 'appdynamics'"),
            (52, "spec.ratioMetric.total.metricSource.type", "'AppDynamics' cannot be measured"),
            (73, "spec.ratioMetric.raw.metricSource.metricSourceRef", "there is no DataSource document 'prometheus'"),
            (99, "spec.thresholdMetric.metricSource.metricSourceRef", "there is no DataSource document 'my-prometheus'"),
        ],
    ),
    "examples-v1/slos.yaml": (
        ["web-availability"],
        [],
        [
            (14, "spec.service", "there is no Service document named 'web'"),
            (40, "spec.objectives[0].op", "has no meaning for a ratioMetric"),
        ],
    ),
    "oslo-validate/inputs/fmt/service.yaml": ([], [], []),
    "oslo-validate/inputs/validate/invalid-apiversion.yaml": (
        [],
        [(1, "apiVersion", "'foo' is not known; known: openslo/v1")],
        [],
    ),
    "oslo-validate/inputs/validate/mix/1.yaml": ([], [(1, "apiVersion", V1ALPHA)], []),
    "oslo-validate/inputs/validate/mix/2.yaml": ([], [(4, "metadata.name", BAD_NAME)], []),
    "oslo-validate/inputs/validate/mix/3.yaml": ([], [(1, "apiVersion", V2ALPHA)], []),
    "oslo-validate/inputs/validate/recursive/1.yaml": ([], [(4, "metadata.name", BAD_NAME)], []),
    "oslo-validate/inputs/validate/recursive/nested/2.yaml": ([], [(1, "apiVersion", V2ALPHA)], []),
    "oslo-validate/inputs/validate/recursive/nested/nested2/nested3/3.yaml": ([], [(1, "apiVersion", V2ALPHA)], []),
    "oslo-validate/inputs/validate/unknown-field.yaml": (
        [],
        [(4, "metadata.name", BAD_NAME), (6, "spec.markdown", "unknown field; known here: description")],
        [],
    ),
    "oslo-validate/inputs/validate/v1.yaml": (
        [],
        [(59, "metadata.name", BAD_NAME)],
        [(14, "spec.service", "there is no Service document"), (40, "spec.objectives[0].op", "has no meaning for a ratioMetric")],
    ),
    "oslo-validate/inputs/validate/v1alpha.yaml": (
        [],
        [(line, "apiVersion", V1ALPHA) for line in (1, 8, 13, 40)],
        [],
    ),
    "oslo-validate/inputs/validate/v2alpha.yaml": ([], [(line, "apiVersion", V2ALPHA) for line in (1, 38, 47)], []),
    "oslo-validate/outputs/fmt/service.yaml": ([], [], []),
    "spec-examples/budgeting-method/occurences-slo.yaml": (
        ["search-slo"],
        [],
        [
            (9, "spec.service", "there is no Service document named 'web-shop'"),
            (17, "spec.indicator.spec.thresholdMetric.metricSource.type", "'Any' cannot be measured"),
        ],
    ),
    "spec-examples/budgeting-method/ratio-timeslices.yaml": (
        ["main-page"],
        [],
        [
            (9, "spec.service", "there is no Service document named 'web-shop'"),
            (18, "spec.indicator.spec.ratioMetric.good.metricSource.type", "'Any' cannot be measured"),
            (23, "spec.indicator.spec.ratioMetric.total.metricSource.type", "'Any' cannot be measured"),
            (32, "spec.objectives[0].op", "has no meaning for a ratioMetric"),
        ],
    ),
    "spec-examples/budgeting-method/timeslices-slo.yaml": (
        ["service-availability"],
        [],
        [
            (9, "spec.service", "there is no Service document named 'web-availability'"),
            (18, "spec.indicator.spec.ratioMetric.good.metricSource.type", "'Any' cannot be measured"),
            (23, "spec.indicator.spec.ratioMetric.total.metricSource.type", "'Any' cannot be measured"),
            (27, "spec.timeWindow[0].duration", "a window of one minute; did you mean 1M (1 month)?"),
            (35, "spec.objectives[0].op", "has no meaning for a ratioMetric"),
        ],
    ),
    "spec-examples/treat-low-traffic-as-equally-important/timeslices-slo.yaml": (
        ["service-availability"],
        [],
        [
            (7, "spec.service", "there is no Service document named 'web-availability'"),
            (16, "spec.indicator.spec.ratioMetric.good.metricSource.type", "'Any' cannot be measured"),
            (21, "spec.indicator.spec.ratioMetric.total.metricSource.type", "'Any' cannot be measured"),
            (33, "spec.objectives[0].op", "has no meaning for a ratioMetric"),
        ],
    ),
}


def test_every_acceptance_document_has_an_expectation() -> None:
    root = acceptance("slo", "openslo")
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.suffix in (".yaml", ".yml")}
    assert found == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_acceptance_document_gives_expected_findings(name: str) -> None:
    slos, expected_faults, expected_warnings = FILES[name]
    path = acceptance("slo", "openslo", *name.split("/"))
    catalog, faults, warnings = read(path)
    for found, expected in ((faults, expected_faults), (warnings, expected_warnings)):
        assert [(fault.line, fault.path) for fault in found] == [(line, where) for line, where, _ in expected]
        for fault, (_, _, words) in zip(found, expected, strict=True):
            assert words in fault.message
            assert fault.file == str(path)
    if expected_faults:
        assert catalog is None
        with pytest.raises(DocumentError) as caught:
            load(path)
        assert list(caught.value.faults) == faults
    else:
        assert catalog is not None
        assert [slo.name for slo in catalog] == slos


def test_messages_never_repeat_secrets() -> None:
    _, faults, warnings = read(acceptance("slo", "openslo", "examples-v1", "data_sources.yaml"))
    shown = "\n".join(map(str, faults + warnings))
    assert "my-api-key" not in shown
    assert "my-app-key" not in shown


def only(*parts: str):
    (slo,) = load(acceptance("slo", "openslo", *parts))
    return slo


def test_calendar_timeslices_slo_is_read_field_by_field() -> None:
    slo = only("examples-v1", "slos.yaml")
    assert (slo.name, slo.display_name, slo.service) == ("web-availability", "SLO for web availability", "web")
    assert slo.description == "X% of search requests are successful"
    assert slo.labels == {"env": ("prod",), "team": ("team-a", "team-b")}
    assert slo.method is BudgetingMethod.TIMESLICES
    assert (slo.window.rolling, slo.window.duration.text) == (False, "1w")
    assert (slo.window.start, slo.window.zone) == (datetime(2022, 1, 1, 12), "America/New_York")
    assert slo.indicator is not None
    metric = slo.indicator.metric
    assert isinstance(metric, RatioMetric)
    assert metric.counter
    assert metric.good is not None and metric.total is not None
    assert metric.good.query == 'sum(http_requests{k8s_cluster="prod",component="web",code=~"2xx|4xx"})'
    assert metric.total.query == 'sum(http_requests{k8s_cluster="prod",component="web"})'
    (objective,) = slo.objectives
    assert objective.target == Fraction(995, 1000)
    assert (objective.op, objective.value) == (None, None)
    assert objective.time_slice_target == Fraction(95, 100)
    assert objective.time_slice_window is not None
    assert objective.time_slice_window.seconds == 60
    assert slo.location.line == 1


def test_threshold_slo_is_read_field_by_field() -> None:
    slo = only("spec-examples", "budgeting-method", "occurences-slo.yaml")
    assert slo.indicator is not None
    assert isinstance(slo.indicator.metric, ThresholdMetric)
    (objective,) = slo.objectives
    assert (objective.op, objective.value, objective.target) == ("lt", Fraction(500), Fraction(99, 100))
    assert slo.window.duration.seconds == 14 * 86400


def test_slo_with_two_objectives_has_two_parts() -> None:
    slo = only("spec-examples", "budgeting-method", "timeslices-slo.yaml")
    assert [(name, objective.target) for name, objective in slo.parts()] == [
        ("service-availability[1]", Fraction(995, 1000)),
        ("service-availability[2]", Fraction(99, 100)),
    ]


def test_references_across_files_resolve_in_any_order() -> None:
    folder = acceptance("slo", "openslo", "examples-v1")
    policies, conditions = folder / "alert_policies.yaml", folder / "alert_conditions.yaml"
    for order in ([policies, conditions], [conditions, policies]):
        catalog, faults, _ = read(order)
        assert faults == []
        assert catalog is not None


def test_load_directory_reads_all_documents() -> None:
    catalog, faults, _ = read(acceptance("slo", "openslo", "oslo-validate", "inputs", "validate", "recursive"))
    assert catalog is None
    assert [Path(fault.file).name for fault in faults] == ["1.yaml", "2.yaml", "3.yaml"]
