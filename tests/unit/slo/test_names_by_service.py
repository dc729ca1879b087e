"""Service and name identify an SLO: `availability` of cart and `availability` of pay are two SLOs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.incidents.incident import Incident
from airflow_slo_provider.incidents.incident_state import BurnState, PollResult, WatchState, renamed_states
from airflow_slo_provider.ledger import Ledger, RunKey, open_ledger
from airflow_slo_provider.ledger.environments import adopt
from airflow_slo_provider.ledger.queries import checks as check_queries
from airflow_slo_provider.ledger.queries import slos as slo_queries
from airflow_slo_provider.ledger.queries.changes import history_entries
from airflow_slo_provider.runtime.error_budget.burn_watch import evidence_of, selected_reports
from airflow_slo_provider.runtime.error_budget.previous_decisions import PreviousDecisions
from airflow_slo_provider.slo import Decision, GateOutcome, SLOCatalog, SLOMonitor, Status, decide, load, read, rules
from airflow_slo_provider.slo.budget.ledger_records import decision_check, slo_checks
from airflow_slo_provider.slo.budget.text_table import format_decision
from airflow_slo_provider.slo.documents.document_files import DocumentText
from airflow_slo_provider.slo.export.grafana_dashboard import grafana_dashboard
from airflow_slo_provider.slo.policy.error_budget_policy import ErrorBudgetPolicy
from tests.unit.slo import monitor_builders as memory
from tests.unit.slo.monitor_builders import AT, MemorySource, steady
from tests.unit.slo.rules_builders import catalog as prometheus_catalog
from tests.unit.slo.rules_builders import slo as prometheus_slo

SLOTH = """\
version: prometheus/v1
service: {service}
slos:
  - name: availability
    objective: 99
    sli:
      events:
        error_query: sum(rate({service}_errors_total[{{{{.window}}}}]))
        total_query: sum(rate({service}_requests_total[{{{{.window}}}}]))
"""
CART, PAY = SLOTH.format(service="cart"), SLOTH.format(service="pay")
OVERRIDE = """\
apiVersion: airflow-slo/v1
kind: ErrorBudgetPolicy
metadata: {{name: gate}}
spec:
  rules:
    - {{name: spent, action: freeze, when: {{signal: remainingBudget, enter: 0}}}}
  overrides:
    - {{action: allow, until: "{until}", reason: The fix must go out., slos: [{slo}]}}
"""
CHOICES = "several services have an SLO named 'availability'; write one of 'cart/availability', 'pay/availability'"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as found:
        yield found


def two(**options: object) -> SLOCatalog:
    """One name in two services; the SLO of cart spends its budget."""
    cart = memory.slo("cart", **options)
    pay = memory.slo("pay", **options)
    return memory.catalog(replace(cart, name="availability", service="cart"), replace(pay, name="availability", service="pay"))


def decided(catalog: SLOCatalog) -> Decision:
    source = MemorySource(cart=steady(10), pay=steady(0))
    return decide(SLOMonitor(catalog, source).evaluate(AT), catalog)


def test_one_name_in_two_services_is_two_slos() -> None:
    catalog = load([_file("cart.yml", CART), _file("pay.yml", PAY)])
    assert [slo.key.qualified for slo in catalog] == ["cart/availability", "pay/availability"]
    assert catalog["pay/availability"].service == "pay"
    assert [slo.service for slo in catalog.select(["pay/availability"])] == ["pay"]
    with pytest.raises(KeyError, match=CHOICES):
        catalog["availability"]
    with pytest.raises(ValueError, match=CHOICES):
        catalog.select("availability")


def test_plain_name_selects_while_it_is_unique() -> None:
    assert load(CART)["availability"] is not None
    assert load(CART)["cart/availability"].service == "cart"


def test_one_name_twice_in_one_service_is_an_error() -> None:
    faults = read([_file("a.yml", CART), _file("b.yml", CART)]).faults
    assert [str(fault) for fault in faults] == [
        "b.yml:4: sloth/cart slos[0].name: two SLOs of the service 'cart' are named 'availability'; the first is in a.yml:4"
    ]


def test_slos_of_one_name_with_errors_are_not_reported_as_repeated() -> None:
    text = """\
apiVersion: openslo/v1
kind: SLO
metadata: {{name: availability}}
spec: {{service: {service}}}
"""
    faults = read([_file(f"{service}.yml", text.format(service=service)) for service in ("cart", "pay")]).faults
    assert faults and not any("are named" in fault.message for fault in faults)


def test_objectives_are_found_by_service_and_name() -> None:
    catalog = two()
    assert catalog.part("pay/availability")[0].service == "pay"
    with pytest.raises(ValueError, match=CHOICES):
        catalog.part("availability")
    several = memory.catalog(*(replace(slo, objectives=slo.objectives * 2) for slo in catalog.slos))
    assert several.part("pay/availability[2]")[1] == "availability[2]"
    with pytest.raises(ValueError, match=r"several objectives; name one of availability\[1\], availability\[2\]"):
        several.part("pay/availability")
    with pytest.raises(ValueError, match=CHOICES):
        several.part("availability")


def test_each_slo_is_measured_and_decided_on_its_own() -> None:
    decision = decided(two())
    assert [report.status for report in decision.reports] == [Status.EXHAUSTED, Status.HEALTHY]
    assert decision.outcome is GateOutcome.FROZEN
    assert decision.reasons[0].startswith("cart/availability: ")
    table = format_decision(decision)
    assert "cart/availability" in table and "pay/availability" in table


def test_status_and_error_budget_of_one_of_them() -> None:
    monitor = SLOMonitor(two(), MemorySource(cart=steady(10), pay=steady(0)))
    assert monitor.get_status(AT) == {"cart/availability": Status.EXHAUSTED, "pay/availability": Status.HEALTHY}
    assert monitor.check_sli("pay/availability", AT) == 1
    with pytest.raises(ValueError, match=CHOICES):
        monitor.check_sli("availability", AT)


def test_state_of_a_decision_belongs_to_its_service(ledger: Ledger) -> None:
    catalog = two()
    ledger.record(slo_checks(decided(catalog)), RunKey("gate", "r1", "check"))
    later = AT + timedelta(hours=1)
    states = PreviousDecisions(ledger, later, about_now=False).states(catalog.slos)
    assert {key.service: state.blocked_since for key, state in states.items()} == {"cart": AT, "pay": None}
    calm = SLOMonitor(catalog, MemorySource(cart=steady(0), pay=steady(0))).evaluate(AT)
    again = decide(calm, memory.catalog(*catalog.slos), previous=states)
    assert [slo.action.blocks for slo in again.slos] == [False, False]
    with_rules = {key: replace(state, holding=("budget-spent",)) for key, state in states.items() if key.service == "pay"}
    assert decide(calm, catalog, previous=with_rules).outcome is GateOutcome.ALLOWED


def test_both_rows_of_one_task_are_kept_and_found_by_their_identity(ledger: Ledger) -> None:
    key = RunKey("gate", "r1", "check")
    for _ in range(2):  # a retry replaces its own rows
        ledger.record(slo_checks(decided(two())), key)
    rows = slo_queries.newest(ledger, name="availability")
    assert [SLOKey.of(row.result).service for row in rows] == ["cart", "pay"]
    assert len(ledger.checks("slo")) == 2
    for row in rows:
        found = check_queries.by_identity(ledger, row.identity)
        assert found is not None and found.result.evidence["service"] == row.result.evidence["service"]


def test_row_of_a_unique_name_keeps_the_identity_of_older_releases(ledger: Ledger) -> None:
    key = RunKey("gate", "r1", "check")
    ledger.record(slo_checks(decided(two()))[:1], key)
    (row,) = ledger.checks("slo")
    assert row.identity == key.identity("slo", "availability")


def test_both_rows_are_adopted_by_an_environment(ledger: Ledger) -> None:
    ledger.record(slo_checks(decided(two())), RunKey("gate", "r1", "check"))
    named = ledger.within("production")
    assert adopt(named).checks == 2
    ledger.within("production").record(slo_checks(decided(two())), RunKey("gate", "r1", "check"))
    assert len(named.checks("slo")) == 2


def test_decisions_are_found_by_service_and_name(ledger: Ledger) -> None:
    ledger.record([decision_check(decided(two()), name="both")], RunKey("gate", "r1", "both"))
    only_pay = memory.catalog(two().slos[1])
    ledger.record([decision_check(decided(only_pay), name="pay")], RunKey("gate", "r1", "pay"))
    old = replace(
        decision_check(decided(only_pay), name="old"), evidence={"outcome": "allowed", "slos": {"availability": "HEALTHY"}}
    )
    ledger.record([old], RunKey("gate", "r1", "old"))

    def found(*names: str) -> set[str]:
        return {entry.name for entry in history_entries(ledger, slos=names)}

    assert found("pay/availability") == {"both", "pay", "old"}
    assert found("cart/availability") == {"both", "old"}
    with pytest.raises(ValueError, match=CHOICES):
        found("availability")


@pytest.mark.parametrize(
    ("slo", "problem"),
    [
        ("cart/availability", ""),
        ("availability", CHOICES),
        ("shop/availability", "names the SLO 'shop/availability', which is not"),
    ],
)
def test_override_names_the_service_of_an_ambiguous_name(slo: str, problem: str) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    annotated = [
        f"apiVersion: sloth.slok.dev/v1\nkind: PrometheusServiceLevel\nmetadata:\n  name: {service}\n"
        "  annotations: {airflow-slo/error-budget-policy: gate}\n"
        f"spec:\n  service: {service}\n  slos:\n    - name: availability\n      objective: 99\n      sli:\n        events:\n"
        f"          errorQuery: sum(rate({service}_errors_total[{{{{.window}}}}]))\n"
        f"          totalQuery: sum(rate({service}_total[{{{{.window}}}}]))\n"
        for service in ("cart", "pay")
    ]
    reading = read("---\n".join([*annotated, OVERRIDE.format(until=until, slo=slo)]))
    messages = [fault.message for fault in [*reading.faults, *reading.warnings]]
    assert any(problem in message for message in messages) if problem else not reading.faults
    if slo == "availability":
        assert reading.catalog is None


def test_override_covers_the_slo_of_its_service_only() -> None:
    policy = _policy("cart/availability")
    catalog = two(error_budget_policy=policy.name)
    catalog = memory.catalog(*catalog.slos, policies=[policy])
    source = MemorySource(cart=steady(10), pay=steady(10))
    decision = decide(SLOMonitor(catalog, source).evaluate(AT), catalog)
    assert [slo.outcome for slo in decision.slos] == [GateOutcome.ALLOWED, GateOutcome.FROZEN]


def test_rule_groups_and_dashboard_distinguish_services() -> None:
    catalog = prometheus_catalog(
        prometheus_slo(name="availability", service="cart"),
        prometheus_slo(name="availability", service="pay"),
        prometheus_slo(name="b-c", service="a"),
        prometheus_slo(name="c", service="a-b"),
    )
    groups = yaml.safe_load(rules(catalog))["groups"]
    names = [group["name"] for group in groups]
    assert len(set(names)) == len(names)
    assert "slo-cart-availability-sli" in names and "slo-a/b-c-sli" in names and "slo-a-b/c-sli" in names
    board = grafana_dashboard(catalog)
    options = {item["name"]: item.get("query") for item in board["templating"]["list"]}
    assert options == {"datasource": "prometheus", "slo_service": "cart,pay,a,a-b", "slo": "availability,b-c,c"}
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    assert all('slo_service=~"$slo_service"' in target["expr"] for target in targets)
    assert all("{{slo_service}}/{{slo}}" in target["legendFormat"] for target in targets)


def test_reports_of_a_trigger_are_selected_by_service_and_name() -> None:
    reports = SLOMonitor(two(), MemorySource(cart=steady(10), pay=steady(0))).evaluate(AT)
    assert [report.slo.service for report in selected_reports(reports, ["pay/availability"])] == ["pay"]
    with pytest.raises(ValueError, match=CHOICES):
        selected_reports(reports, ["availability"])
    with pytest.raises(ValueError, match="there is no SLO 'nobody' in the documents, only cart/availability, pay/availability"):
        selected_reports(reports, ["nobody"])
    assert [report.slo.service for report in selected_reports(reports[:1], ["availability"])] == ["cart"]
    assert evidence_of(reports[1])["slo_service"] == "pay"


def test_incident_names_the_slo_with_its_service() -> None:
    assert opened({"slo": "availability", "slo_service": "cart"}).slo == "cart/availability"
    assert opened({"slo": "availability"}).slo == "availability"  # of an older release


def test_open_incident_follows_its_slo_when_the_name_gets_the_service() -> None:
    states = {"availability": WatchState(opened({"service": "cart"}), sent=True)}
    seen = [_burns("cart/availability", "cart", "availability"), _burns("pay/availability", "pay", "availability")]
    changed = renamed_states(states, seen)
    assert changed == {"cart/availability": states["availability"], "availability": WatchState()}


def test_open_incident_does_not_hide_the_slo_of_another_service() -> None:
    states = {"availability": WatchState(opened({"service": "cart"}), sent=True)}
    assert renamed_states(states, [_burns("availability", "pay", "pay/availability")]) == {"availability": WatchState()}
    assert renamed_states(states, [_burns("availability", "cart", "cart/availability")]) == {}


def opened(evidence: dict[str, object]) -> Incident:
    return Incident(id="x", subject="availability", severity="page", evidence=evidence)


def _burns(subject: str, service: str, *earlier: str) -> PollResult:
    return PollResult(subject, BurnState.BURNING, "page", evidence={"slo_service": service}, earlier_subjects=earlier)


def _policy(slo: str) -> ErrorBudgetPolicy:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    return load(OVERRIDE.format(until=until, slo=slo)).policies["gate"]


def _file(name: str, text: str) -> DocumentText:
    return DocumentText(name, text)
