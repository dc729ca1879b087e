"""OpenSLO documents: what is read, and each error of a document, with line, document, path and what to do."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.documents.document_files import read
from airflow_slo_provider.slo.model import CalendarDenominator, MissingSlices
from tests.unit.slo.documents import (
    ALERTS_TEXT,
    CALENDAR,
    POLICY_TEXT,
    SERVICE_TEXT,
    SLO_TEXT,
    SOURCE_TEXT,
    annotated,
    catalog_of,
    changed,
    faults,
    joined,
    warnings,
)


def test_complete_catalog_is_read() -> None:
    catalog = catalog_of(joined(annotated("airflow-slo/error-budget-policy: gate"), POLICY_TEXT, SERVICE_TEXT, SOURCE_TEXT))
    assert isinstance(catalog, SLOCatalog)
    assert [slo.name for slo in catalog] == ["checkout"]
    assert catalog["checkout"].objectives[0].target == Fraction(999, 1000)
    assert catalog.services["shop"].name == "shop"
    assert catalog.data_sources["metrics"].conn_id == "prometheus_default"
    assert catalog.policy_of(catalog["checkout"]).name == "gate"
    assert catalog.warnings == ()
    indicator = catalog["checkout"].indicator
    assert indicator is not None
    assert catalog.data_source_of(indicator) is catalog.data_sources["metrics"]


def test_slos_keep_document_order() -> None:
    names = ["zebra", "ape", "bee"]
    text = joined(SERVICE_TEXT, *(changed(SLO_TEXT, "name: checkout", f"name: {name}") for name in names))
    assert [slo.name for slo in catalog_of(text)] == names


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("apiVersion: openslo/v1\n", "", "<text>:1: SLO/checkout apiVersion: is required"),
        (
            "openslo/v1\n",
            "openslo/v2\n",
            "<text>:1: SLO/checkout apiVersion: 'openslo/v2' is not a version of OpenSLO that is read here: "
            "write apiVersion openslo/v1; see docs/documents.md",
        ),
        (
            "openslo/v1\n",
            "openslo2\n",
            "<text>:1: SLO/checkout apiVersion: 'openslo2' is not known; did you mean 'openslo/v1'?; "
            "known: openslo/v1, airflow-slo/v1, sre.google.com/v2, sloth.slok.dev/v1, pyrra.dev/v1alpha1",
        ),
        (
            "openslo/v1\n",
            "openslo/v1alpha\n",
            "<text>:1: SLO/checkout apiVersion: 'openslo/v1alpha' cannot be used: OpenSLO v1alpha is not read; "
            "write the document in openslo/v1",
        ),
        (
            "openslo/v1\n",
            "openslo.com/v2alpha\n",
            "<text>:1: SLO/checkout apiVersion: 'openslo.com/v2alpha' cannot be used: OpenSLO v2alpha is not read; "
            "write the document in openslo/v1",
        ),
        ("openslo/v1\n", "pyrra.dev/v1\n", "'pyrra.dev/v1' is not a version of pyrra that is read here: write apiVersion"),
        ("openslo/v1\n", "sloth.slok.dev/v2\n", "'sloth.slok.dev/v2' is not a version of sloth that is read here: write"),
        ("openslo/v1\n", "sre.google.com/v1\n", "is not a version of slo-generator that is read here: write apiVersion sre.goo"),
        ("openslo/v1\n", "n9/v1alpha\n", "'n9/v1alpha' is not a version of Nobl9 that is read here: its documents cannot"),
        ("openslo/v1\n", "nobl9.com/v1\n", "is not a version of Nobl9 that is read here: its"),
        ("openslo/v1\n", "n9/v1alpha\n", "write the SLO with apiVersion openslo/v1; see docs/documents.md"),
        ("kind: SLO\n", "", "<text>:1: document 1 kind: is required"),
        ("kind: SLO\n", "kind:\n", "<text>:2: document 1 kind: is required, and it is empty"),
        (
            "kind: SLO\n",
            "kind: SL0\n",
            "<text>:2: SL0/checkout kind: 'SL0' is no kind of openslo/v1; did you mean 'SLO'?; known: DataSource, SLI, "
            "AlertCondition, AlertNotificationTarget, AlertPolicy, Service, SLO",
        ),
        (
            "kind: SLO\n",
            "kind: ErrorBudgetPolicy\n",
            "ErrorBudgetPolicy/checkout kind: 'ErrorBudgetPolicy' is a kind of apiVersion airflow-slo/v1, not of openslo/v1",
        ),
        ("  service: shop\n", "", "<text>:6: SLO/checkout spec.service: is required"),
        (
            "  service: shop\n",
            "  servce: shop\n",
            "<text>:6: SLO/checkout spec.servce: unknown field; did you mean 'service'?",
        ),
        ("  service: shop\n", "  service: [shop]\n", "<text>:6: SLO/checkout spec.service: must be text, not a list"),
        ("  name: checkout\n", "  name: Check Out\n", "<text>:4: SLO/Check Out metadata.name: 'Check Out' is not an RFC"),
        ("metadata:\n  name: checkout\n", "", "<text>:1: SLO metadata: is required"),
        ("target: 0.999", "target: 99.9", "spec.objectives[0].target: 99.9 must be a share of good strictly between 0 and 1"),
        ("target: 0.999", "target: 1", "spec.objectives[0].target: leaves no error budget: any single failure would break it"),
        ("target: 0.999", "target: 1.0", "spec.objectives[0].target: leaves no error budget"),
        ("target: 0.999", "target: 0", "spec.objectives[0].target: must be a share of good strictly between 0 and 1"),
        ("target: 0.999", "target: .nan", "spec.objectives[0].target: must be a finite decimal number such as 0.999, not '.nan'"),
        ("target: 0.999", "target: .inf", "spec.objectives[0].target: must be a finite decimal number"),
        ("target: 0.999", "target: '0.999'", "must be a finite decimal number such as 0.999, not the quoted text '0.999'"),
        ("target: 0.999", "target: 0.999\n      targetPercent: 99.9", "either target or targetPercent, not both"),
        ("target: 0.999", "displayName: x", "spec.objectives[0].target: is required, or targetPercent"),
        ("duration: 30d", "duration: 30 days", "spec.timeWindow[0].duration: '30 days' is not a duration"),
        ("duration: 30d", "duration: 1M", "1M has no fixed length, which a rolling window needs; write 30d"),
        ("duration: 30d", "duration: 99999w", "spec.timeWindow[0].duration: 99999w is longer than a hundred years"),
        ("isRolling: true", "isRolling: yes", "spec.timeWindow[0].isRolling: must be true or false, not 'yes'"),
        ("isRolling: true", "isRolling: false", "spec.timeWindow[0].calendar: is required where isRolling is false"),
        ("budgetingMethod: Occurrences", "budgetingMethod: Occurences", "'Occurences' is none of Occurrences, Timeslices"),
        ("  budgetingMethod: Occurrences\n", "", "spec.budgetingMethod: is required"),
        ("budgetingMethod: Occurrences", "budgetingMethod: Timeslices", "timeSliceTarget: is required"),
        ("counter: true", "counter: 1", "spec.indicator.spec.ratioMetric.counter: must be true or false, not '1'"),
        (
            'query: sum(requests_total{code!~"5.."})',
            "query: sum(requests_total)",
            "ratioMetric.total: is the same query as good: the ratio would always be 1",
        ),
        (
            'query: sum(requests_total{code!~"5.."})',
            "query: up\n              password: hunter2",
            "spec.password: a secret must not be written into a document",
        ),
        ("  objectives:\n    - target: 0.999\n", "  objectives: []\n", "spec.objectives: is required, and it is empty"),
    ],
)  # fmt: skip
def test_error_names_location_and_reason(old: str, new: str, expected: str) -> None:
    found = faults(joined(changed(SLO_TEXT, old, new), SERVICE_TEXT))
    assert any(expected in fault for fault in found), found
    assert all(fault.startswith("<text>:") for fault in found)


def test_messages_never_repeat_secrets() -> None:
    text = changed(SLO_TEXT, "query: sum(requests_total)\n", "query: up\n              token: hunter2\n")
    unknown, secret = faults(joined(text, SERVICE_TEXT))
    assert "spec.token: unknown field; known here: query" in unknown or "spec.token: unknown field; known here: query" in secret
    assert "hunter2" not in unknown + secret
    text = changed(SOURCE_TEXT, "airflowConnId: prometheus_default", "url: http://me:hunter2@host")
    (fault,) = faults(text)
    assert "a URL must not carry credentials" in fault
    assert "hunter2" not in fault


def test_read_reports_all_errors_in_line_order() -> None:
    text = SLO_TEXT.replace("service: shop", "servce: shop").replace("30d", "30x").replace("0.999", "2")
    found = read(text).faults
    assert [(fault.line, fault.path) for fault in found] == [
        (6, "spec.service"),
        (6, "spec.servce"),
        (24, "spec.timeWindow[0].duration"),
        (28, "spec.objectives[0].target"),
    ]


@pytest.mark.parametrize(
    ("annotation", "option", "value"),
    [
        ("airflow-slo/min-events: '100'", "min_events", 100),
        ("airflow-slo/min-events: 100", "min_events", 100),
        ("airflow-slo/min-failures: '5'", "min_failures", 5),
        ("airflow-slo/missing-slices: ignore", "missing_slices", MissingSlices.IGNORE),
        ("airflow-slo/min-coverage: '0.5'", "min_coverage", Fraction(1, 2)),
        ("airflow-slo/min-coverage: '0'", "min_coverage", Fraction(0)),
        ("airflow-slo/maturity-lag: 15m", "maturity_lag", timedelta(minutes=15)),
        ("airflow-slo/maturity-lag: '0'", "maturity_lag", timedelta(0)),
        ("airflow-slo/max-silence: 6h", "max_silence", timedelta(hours=6)),
        ("airflow-slo/max-silence: 30d", "max_silence", timedelta(days=30)),
        ("airflow-slo/split-window: 1d", "split_window", timedelta(days=1)),
        ("airflow-slo/tier: informational", "tier", "informational"),
        ("team/owner: me", "tier", "key"),
    ],
)
def test_annotations_are_options(annotation: str, option: str, value: object) -> None:
    slo = catalog_of(joined(annotated(annotation), SERVICE_TEXT))["checkout"]
    assert getattr(slo.options, option) == value
    assert slo.options.gates == (option != "tier" or value != "informational")


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("airflow-slo/min-event: '1'", "unknown annotation; did you mean 'airflow-slo/min-events'?"),
        ("airflow-slo/colour: red", "unknown annotation; known: airflow-slo/min-events, airflow-slo/min-failures"),
        ("airflow_slo/min-events: '1'", "unknown annotation; did you mean 'airflow-slo/min-events'?"),
        ("airflow-slo/min-events: '-1'", "'-1' is not a whole number of events"),
        ("airflow-slo/min-events: many", "'many' is not a whole number of events"),
        ("airflow-slo/min-coverage: '50'", "'50' is not a share between 0 and 1"),
        ("airflow-slo/min-coverage: nan", "'nan' is not a share between 0 and 1"),
        ("airflow-slo/missing-slices: god", "'god' is none of good, bad, ignore; did you mean 'good'?"),
        ("airflow-slo/maturity-lag: 1M", "1M must be a fixed length of at most a year"),
        ("airflow-slo/max-silence: 1M", "1M must be a fixed length"),
        ("airflow-slo/max-silence: 0h", "0"),
        ("airflow-slo/max-silence: 366d", "is longer than the window of"),
        ("airflow-slo/split-window: 1M", "1M must be a fixed length of at least 1h"),
        ("airflow-slo/split-window: 59m", "59m must be a fixed length of at least 1h"),
        ("airflow-slo/split-window: 30d", "is not shorter than the window of"),
        ("airflow-slo/split-window: 1h", "into more than 366 parts"),
        ("airflow-slo/max-silent: 6h", "did you mean 'airflow-slo/max-silence'"),
        ("airflow-slo/calendar-denominator: whole", "whole needs a calendar window"),
        (
            "airflow-slo/error-budget-policy: gat",
            "there is no ErrorBudgetPolicy document named 'gat'; did you mean 'gate'?",
        ),
        ("airflow-slo/error-budget-policy: other", "there is no ErrorBudgetPolicy document named 'other'; there are: gate"),
    ],
)
def test_invalid_annotations_are_errors(annotation: str, expected: str) -> None:
    found = faults(joined(annotated(annotation), SERVICE_TEXT, POLICY_TEXT))
    key = annotation.partition(":")[0]
    assert any(fault.startswith(f"<text>:6: SLO/checkout metadata.annotations.{key}: ") and expected in fault for fault in found)


def test_options_outside_slos_are_errors() -> None:
    text = changed(SERVICE_TEXT, "  name: shop\n", "  name: shop\n  annotations:\n    airflow-slo/tier: key\n")
    (fault,) = faults(text)
    assert fault.startswith("<text>:6: Service/shop metadata.annotations.airflow-slo/tier: has no effect here; write it into the")


def test_missing_policy_is_reported_once() -> None:
    text = changed(annotated("airflow-slo/error-budget-policy: gat"), "target: 0.999", "target: 2")
    found = faults(joined(text, SERVICE_TEXT, POLICY_TEXT))
    assert len(found) == 2
    assert "there is no ErrorBudgetPolicy document named 'gat'" in found[0]


def test_policy_with_errors_is_not_reported_missing() -> None:
    text = joined(annotated("airflow-slo/error-budget-policy: gate"), changed(POLICY_TEXT, "freeze", "freese"), SERVICE_TEXT)
    (fault,) = faults(text)
    assert "'freese' is none of allow, alert, reduce_experimentation, degrade, escalate, freeze; did you mean 'freeze'?" in fault


@pytest.mark.parametrize("name", ["shpo", "shopp", "Shop"])
def test_misspelt_service_is_an_error(name: str) -> None:
    (fault,) = faults(joined(changed(SLO_TEXT, "service: shop", f"service: {name!r}"), SERVICE_TEXT))
    assert fault == (
        f"<text>:6: SLO/checkout spec.service: there is no Service document named {name!r}; did you mean 'shop'? If it is "
        "another service, write a Service document for it"
    )


def test_unknown_service_is_a_warning() -> None:
    assert warnings(joined(changed(SLO_TEXT, "service: shop", "service: billing"), SERVICE_TEXT)) == [
        "<text>:6: SLO/checkout spec.service: there is no Service document named 'billing'"
    ]


def test_service_without_documents_is_a_warning() -> None:
    assert warnings(SLO_TEXT) == ["<text>:6: SLO/checkout spec.service: there is no Service document named 'shop'"]


def test_missing_service_of_several_slos_is_one_warning() -> None:
    two = joined(SLO_TEXT, changed(SLO_TEXT, "name: checkout", "name: payment"))
    expected = "<text>:6: SLO/checkout spec.service: there is no Service document named 'shop'"
    assert warnings(two) == [f"{expected}; 1 other SLO has this service"]
    three = joined(two, changed(SLO_TEXT, "name: checkout", "name: refund"))
    assert warnings(three) == [f"{expected}; 2 other SLOs have this service"]


def test_misspelt_service_of_several_slos_is_an_error_of_each() -> None:
    one = changed(SLO_TEXT, "service: shop", "service: shpo")
    found = faults(joined(one, changed(one, "name: checkout", "name: payment"), SERVICE_TEXT))
    assert [fault.partition(" spec.service")[0].rpartition(" ")[2] for fault in found] == ["SLO/checkout", "SLO/payment"]


def test_composite_weight_is_a_warning() -> None:
    (warning,) = warnings(joined(changed(SLO_TEXT, "target: 0.999", "target: 0.999\n      compositeWeight: 2"), SERVICE_TEXT))
    assert "compositeWeight: is not used: each objective is evaluated separately, and the strictest decides" in warning


def test_two_documents_with_same_name_are_an_error() -> None:
    text = joined(SLO_TEXT, SERVICE_TEXT, changed(SLO_TEXT, "target: 0.999", "target: 2"))
    found = faults(text)
    assert "SLO/checkout metadata.name: two SLOs of the service 'shop' are named 'checkout'; the first is in <text>:1" in found[0]
    # What is wrong with the second one is said in the same reading.
    assert "2 must be a share of good strictly between 0 and 1" in found[1]


def test_same_name_for_two_kinds_is_allowed() -> None:
    assert (
        len(
            catalog_of(joined(changed(SLO_TEXT, "service: shop", "service: checkout"), changed(SERVICE_TEXT, "shop", "checkout")))
        )
        == 1
    )


@pytest.mark.parametrize("text", ["just words\nand more", "- 1\n- [a, b]\n", "42\n#"])
def test_document_not_a_mapping_is_an_error(text: str) -> None:
    assert all("must be a mapping with apiVersion and kind, not a" in fault for fault in faults(text))


def test_list_of_documents_is_read() -> None:
    items = "".join("- " + text.replace("\n", "\n  ").rstrip() + "\n" for text in (SLO_TEXT, SERVICE_TEXT))
    assert [slo.name for slo in catalog_of(items)] == ["checkout"]


def test_calendar_window_is_read() -> None:
    text = changed(changed(SLO_TEXT, "duration: 30d", CALENDAR), "      isRolling: true\n", "")
    window = catalog_of(joined(text, SERVICE_TEXT))["checkout"].window
    assert (window.rolling, window.start, window.zone) == (False, datetime(2026, 1, 31), "Europe/Berlin")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Europe/Berlin", "Europe/Berlim", "'Europe/Berlim' is not an IANA time zone; did you mean 'Europe/Berlin'?"),
        ("Europe/Berlin", "../../etc/passwd", "is not an IANA time zone"),
        ("2026-01-31 00:00:00", "2026-02-31 00:00:00", "'2026-02-31 00:00:00' is not a local time"),
        ("2026-01-31 00:00:00", "2026-01-31T00:00:00Z", "its time zone is written in timeZone"),
        ("      isRolling: true\n", "      isRolling: true\n", "a window with a calendar does not roll"),
    ],
)
def test_invalid_calendar_window_is_an_error(old: str, new: str, expected: str) -> None:
    text = changed(SLO_TEXT, "duration: 30d", CALENDAR)
    if "isRolling" not in old:
        text = changed(text, "      isRolling: true\n", "")
    assert any(expected in fault for fault in faults(joined(changed(text, old, new), SERVICE_TEXT)))


def test_calendar_denominator_needs_matching_window_and_method() -> None:
    text = changed(
        changed(annotated("airflow-slo/calendar-denominator: projected"), "duration: 30d", CALENDAR),
        "      isRolling: true\n",
        "",
    )
    assert catalog_of(joined(text, SERVICE_TEXT))["checkout"].options.calendar_denominator is CalendarDenominator.PROJECTED


def test_alert_policies_of_slo_are_read() -> None:
    text = changed(SLO_TEXT, "  objectives:", "  alertPolicies:\n    - alertPolicyRef: fast\n  objectives:")
    (policy,) = catalog_of(joined(text, SERVICE_TEXT, ALERTS_TEXT))["checkout"].alert_policies
    (condition,) = policy.conditions
    assert (policy.name, policy.alert_when_breaching, policy.notification_targets) == ("fast", True, ("pager",))
    assert (condition.threshold, condition.lookback_window.seconds, condition.alert_after) == (Fraction(2), 3600, None)


def test_invalid_alert_policies_are_errors() -> None:
    text = changed(SLO_TEXT, "  objectives:", "  alertPolicies:\n    - alertPolicyRef: fat\n  objectives:")
    (fault,) = faults(joined(text, SERVICE_TEXT, ALERTS_TEXT))
    assert "alertPolicyRef: there is no AlertPolicy named 'fat' among these documents; did you mean 'fast'?" in fault
    (fault,) = faults(
        changed(ALERTS_TEXT, "threshold: 2", "treshold: 2").replace("    op: gt\n", "    op: gt\n    threshold: 1\n")
    )
    assert "AlertCondition/burns spec.condition.treshold: unknown field; did you mean 'threshold'?" in fault


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: SLO", "kind: {}"),
        ("name: checkout", "name: {}"),
        ("service: shop", "{}: shop"),
        ("Occurrences", "{}"),
        ("30d", "{}"),
    ],
)
def test_very_long_value_is_shortened_in_message(old: str, new: str) -> None:
    found = faults(joined(changed(SLO_TEXT, old, new.format("x" * 100_000)), SERVICE_TEXT))
    assert found
    assert all(len(fault) < 1500 for fault in found)
