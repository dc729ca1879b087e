"""The SLO pages with SLOs of several services that have one name."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.results import CheckResult
from tests.airflow.page_client import as_user, pages
from tests.airflow.page_data import slo_check


@pytest.fixture(scope="module")
def teams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Two teams with an SLO of one name, and a check of that name that names no service."""
    now = datetime.now(UTC)
    with open_ledger(f"sqlite:///{tmp_path_factory.mktemp('teams') / 'ledger.db'}") as ledger:
        for day in range(10, -1, -1):
            at = now - timedelta(days=day, minutes=2)
            spent = slo_check("availability", "EXHAUSTED", "fail", -9.0, 0.9, at, service="checkout")
            well = slo_check("availability", "HEALTHY", "pass", 1.0, 1.0, at + timedelta(minutes=1), service="search")
            ledger.record([spent, slo_check("answered", "HEALTHY", "pass", 1.0, 1.0, at)], RunKey("team_a", f"{day}", "gate"))
            ledger.record([well], RunKey("secret_dag", f"{day}", "gate"))
        ledger.record(
            [CheckResult(kind="slo", name="availability", verdict="warn", checked_at=now)], RunKey("team_a", "old", "by hand")
        )
        with pages(ledger) as made:
            yield made


def test_slos_of_two_services_with_one_name_are_listed_separately(teams: TestClient) -> None:
    slos = teams.get("/slo/data/slos", headers=as_user("admin")).json()["slos"]
    assert {(one["service"], one["status"], one["remaining"]) for one in slos if one["name"] == "availability"} == {
        ("checkout", "EXHAUSTED", -9.0),
        ("search", "HEALTHY", 1.0),
        ("", "warn", None),
    }
    assert [one["last_known"] for one in slos if one["service"] == ""] == [None]  # what another service had is not known of it
    page = teams.get("/slo/overview", headers=as_user("admin")).text
    links = re.findall(r'href="(slo\?name=availability[^"]*)"', page)
    assert sorted(links) == [f"slo?name=availability&amp;service={service}" for service in ("", "checkout", "search")]
    assert "from -900 % to -900 %" in page.replace("\u00a0", " ")
    for link in links:
        assert "<h1>availability" in teams.get(f"/slo/{link.replace('&amp;', '&')}", headers=as_user("admin")).text
    dag = teams.get("/slo/dag?dag_id=team_a", headers=as_user("admin")).text
    assert len(re.findall(r'href="slo\?name=availability&amp;service=(?:checkout)?"', dag)) == 2


@pytest.mark.parametrize(("service", "left"), [("checkout", {-9.0}), ("search", {1.0}), ("", {None})])
def test_history_of_an_slo_excludes_other_services(teams: TestClient, service: str, left: set[float | None]) -> None:
    found = teams.get(f"/slo/data/slo?name=availability&service={service}", headers=as_user("admin")).json()
    assert found["service"] == service
    assert {point["remaining"] for point in found["history"]} == left
    assert len(found["history"]) == (11 if service else 1)
    page = teams.get(f"/slo/slo?name=availability&service={service}", headers=as_user("admin")).text
    assert page.count("/runs/") - page.count('<td class="nowrap">freeze') == (11 if service else 1)  # each of its last checks
    rows = teams.get(f"/slo/data/checks?kind=slo&name=availability&service={service}", headers=as_user("admin")).json()["checks"]
    assert {row["evidence"].get("service", "") for row in rows} == {service}


def test_name_without_service_opens_a_unique_slo_or_lists_candidates(teams: TestClient) -> None:
    assert "<h1>answered" in teams.get("/slo/slo?name=answered", headers=as_user("admin")).text
    page = teams.get("/slo/slo?name=availability", headers=as_user("admin")).text
    assert sorted(re.findall(r'href="slo\?name=([^"&]*)&amp;service=([^"]*)"', page)) == [
        ("availability", service) for service in ("", "checkout", "search")
    ]
    assert "3 of 4 shown" in page
    answer = teams.get("/slo/data/slo?name=availability", headers=as_user("admin"))
    assert answer.status_code == 409
    assert "one of: '', 'checkout', 'search'" in answer.json()["detail"]
    # What may not be seen is no choice, and not said to be there.
    answer = teams.get("/slo/data/slo?name=availability", headers=as_user("guest"))
    assert "one of: '', 'checkout'\"" in answer.text
    for path in ("slo?name=availability&service=search", "data/slo?name=availability&service=absent"):
        assert teams.get(f"/slo/{path}", headers=as_user("guest")).status_code == 404


def test_metrics_of_two_services_with_one_name_are_separate_series(teams: TestClient) -> None:
    lines = teams.get("/slo/metrics", headers=as_user("admin")).text.splitlines()
    series = [line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")]
    assert len(series) == len(set(series))
    assert 'airflow_slo_error_budget_remaining_ratio{slo="availability",service="checkout"} -9.0' in lines
    assert 'airflow_slo_error_budget_remaining_ratio{slo="availability",service="search"} 1.0' in lines
    assert 'airflow_slo_check_verdict{kind="slo",name="availability",service="checkout",verdict="fail"} 1.0' in lines
    assert 'airflow_slo_check_verdict{kind="slo",name="availability",service="search",verdict="fail"} 0.0' in lines


def test_service_and_name_open_the_slo_as_decisions_and_incidents_write_it(teams: TestClient) -> None:
    found = teams.get("/slo/data/slo?name=search/availability", headers=as_user("admin")).json()
    assert (found["service"], found["name"]) == ("search", "availability")
    assert teams.get("/slo/data/slo?name=nobody/availability", headers=as_user("admin")).status_code == 404


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An SLO that is evaluated by version, of which one is retired."""
    now = datetime.now(UTC)
    states = {"v1": ("HEALTHY", "pass", 1.0), "v/2": ("EXHAUSTED", "fail", -9.0), "v0": ("NO_DATA", "unknown", None)}
    with open_ledger(f"sqlite:///{tmp_path_factory.mktemp('versions') / 'ledger.db'}") as ledger:
        for day in range(3, -1, -1):
            for version, (status, verdict, left) in states.items():
                at = now - timedelta(days=day, minutes=2)
                found = slo_check("answered", status, verdict, left, left, at, service="shop", retired=version == "v0")
                labelled = replace(found, labels={"model_version": version})
                ledger.record([labelled], RunKey("team_a", f"{day}", "gate"))
        with pages(ledger) as made:
            yield made


def test_groups_of_an_slo_are_listed_worst_first_with_links(versions: TestClient) -> None:
    page = versions.get("/slo/overview", headers=as_user("admin")).text
    names = ['answered{model_version="v/2"}', 'answered{model_version="v1"}']
    assert [html.unescape(name) for name in re.findall(r'data-v="(answered[^>]*)">', page)] == names, (
        "a retired one is not listed"
    )
    links = re.findall(r'href="(slo\?name=answered[^"]*)"', page)
    for link, name in zip(links, names, strict=True):
        shown = versions.get(f"/slo/{html.unescape(link)}", headers=as_user("admin"))
        assert f"<h1>{html.escape(name)}" in shown.text or f"<h1>{name}" in html.unescape(shown.text)
    found = versions.get("/slo/data/slos", headers=as_user("admin")).json()["slos"]
    assert [one["group"] for one in found] == [{"model_version": "v/2"}, {"model_version": "v1"}]


def test_history_of_a_group_excludes_other_groups(versions: TestClient) -> None:
    for version, left in (("v/2", -9.0), ("v1", 1.0)):
        query = {"name": "answered", "service": "shop", "group": json.dumps({"model_version": version}, separators=(",", ":"))}
        found = versions.get("/slo/data/slo", params=query, headers=as_user("admin")).json()
        assert {point["remaining"] for point in found["history"]} == {left}
    answer = versions.get("/slo/data/slo?name=answered", headers=as_user("admin"))
    assert answer.status_code == 409
    assert "name the group too" in answer.json()["detail"]
