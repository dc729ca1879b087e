"""The SLO pages over HTTP: who may see what, and that whatever is shown stays text. The browser's view is in tests/e2e."""

from __future__ import annotations

import gzip
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger import Ledger, RunKey, open_ledger
from airflow_slo_provider.plugins.slo_page.app import create_app
from airflow_slo_provider.plugins.slo_page.cached_ledger import CachedLedger
from tests.airflow.page_client import as_user, pages
from tests.airflow.page_data import HOSTILE, fill, slo_check

PAGES = [
    "overview",
    "overview?status=BURNING",
    "slo?name=page-checkout",
    "slo?name=page-ranking",
    f"slo?name={quote(HOSTILE)}",
    "slo?name=odd%20evidence",
    "checks",
    "history?kind=freshness&name=features",
    f"history?kind={quote(HOSTILE[:100])}&name={quote(HOSTILE)}",
    "deployments",
    "incidents",
    "dag?dag_id=promote_model",
    f"dag?dag_id={quote(HOSTILE)}",
    "run?dag_id=promote_model&run_id=scheduled__30",
    f"run?dag_id={quote(HOSTILE)}&run_id={quote(HOSTILE)}&task_id={quote(HOSTILE)}&map_index=-1",
    f"check?id={RunKey(HOSTILE, HOSTILE, HOSTILE).identity('drift', HOSTILE)}",
    "slo?name=" + quote("<b>nobody</b>"),
]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path_factory.mktemp('pages') / 'ledger.db'}") as opened:
        fill(opened)
        yield opened


@pytest.fixture(scope="module")
def client(ledger: Ledger) -> Iterator[TestClient]:
    with pages(ledger) as made:
        yield made


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("path", PAGES)
def test_page_with_hostile_values_shows_them_as_text(client: TestClient, path: str) -> None:
    answer = client.get(f"/slo/{path}", headers=as_user("admin"))
    assert answer.status_code == (404 if "nobody" in path else 200), answer.text
    seen = Tags(answer.text)
    assert not {"img", "b"} & (set(seen.tags) - ({"b"} if path.startswith(("overview", "incidents")) else set()))
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name == "style"]
    assert [value for name, value in seen.attributes if name in ("href", "src", "action") and ":" in value.split("?")[0]] == []
    if HOSTILE in path or quote(HOSTILE) in path:
        assert HOSTILE in seen.text


@pytest.mark.parametrize("path", PAGES)
def test_page_headers_allow_only_resources_of_this_server(client: TestClient, path: str) -> None:
    answer = client.get(f"/slo/{path}", headers=as_user("admin"))
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert set(re.findall(r'<(?:script|link)[^>]*(?:src|href)="([^"]*)"', answer.text)) == {"static/slo.css", "static/slo.js"}
    assert "<script>" not in answer.text


def _paths(client: TestClient) -> list[str]:
    routes = [route.path for route in create_app(CachedLedger()).routes]
    return [
        *(path.replace("{name}", "slo.css").replace("{path:path}", "anything/at/all") for path in routes),
        *(f"/{page}" for page in PAGES),
    ]


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_route_without_login_responds_401(client: TestClient, accept: str) -> None:
    paths = _paths(client)
    assert len(paths) > 25
    for path in paths:
        for headers in ({}, {"Cookie": "_token="}):
            answer = client.get(f"/slo{path}", headers={"Accept": accept, **headers})
            assert answer.status_code == 401, path
            assert "page-" not in answer.text
    for method in ("post", "put", "delete"):
        assert getattr(client, method)("/slo/anything").status_code == 401
    assert client.get("/slo/overview", headers={"Authorization": "Bearer forged"}).status_code == 403


def test_session_cookie_is_accepted_as_login(client: TestClient) -> None:
    assert client.get("/slo/overview", headers={"Cookie": "_token=admin"}).status_code == 200


def test_checks_of_an_unreadable_dag_are_hidden_on_every_route(client: TestClient, ledger: Ledger) -> None:
    secret = ("page-payroll", "salaries", "secret_dag")
    everything = "".join(client.get(f"/slo/{page}", headers=as_user("admin")).text for page in ("overview", "checks"))
    assert all(word in everything for word in secret)
    identity = RunKey("secret_dag", "run", "gate").identity("slo", "page-payroll")
    paths = [*PAGES, "data/slos", "data/checks?kind=freshness", "data/checks?kind=slo", "data/checks?kind=slo&name=page-payroll"]
    for path in paths:
        for user in ("guest", "nobody"):
            answer = client.get(f"/slo/{path}", headers=as_user(user))
            assert not any(word in answer.text for word in secret), (path, user)
    for path, status in {
        "dag?dag_id=secret_dag": 403,
        "run?dag_id=secret_dag&run_id=run": 403,
        "slo?name=page-payroll": 404,
        "history?kind=freshness&name=salaries": 404,
        f"check?id={identity}": 404,
        f"report?id={identity}": 404,
        "data/slo?name=page-payroll": 404,
    }.items():
        assert client.get(f"/slo/{path}", headers=as_user("guest")).status_code == status, path
        assert client.get(f"/slo/{path}", headers=as_user("admin")).status_code == (404 if "report" in path else 200), path
    # The same answer as for a check that is not there.
    missing = client.get(f"/slo/check?id={'0' * 64}", headers=as_user("guest"))
    assert missing.text == client.get(f"/slo/check?id={identity}", headers=as_user("guest")).text


def test_user_without_readable_dags_sees_empty_pages(client: TestClient) -> None:
    for page in ("overview", "checks", "deployments", "incidents"):
        answer = client.get(f"/slo/{page}", headers=as_user("nobody"))
        assert answer.status_code == 200
        assert "page-" not in answer.text
    assert client.get("/slo/dag?dag_id=promote_model", headers=as_user("nobody")).status_code == 403


def test_new_dag_is_hidden_until_its_permission_is_checked(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path / 'l.db'}") as ledger:
        fill(ledger, hostile=False)
        with pages(ledger) as client:
            client.get("/slo/checks", headers=as_user("guest"))  # the list of DAGs is kept from here on
            ledger.record([slo_check("page-new", "HEALTHY", "pass", 1.0, 1.0, datetime.now(UTC))], RunKey("unheard_of", "r", "t"))
            assert "page-new" not in client.get("/slo/overview", headers=as_user("admin")).text


def test_overview_lists_the_worst_slo_first(client: TestClient) -> None:
    found = [one["name"] for one in client.get("/slo/data/slos", headers=as_user("guest")).json()["slos"]]
    assert found[:8] == [
        "page-checkout",
        "page-search",
        "page-ranking",
        "odd evidence",  # a verdict of unknown and nothing else: nobody knows
        "page-embedding",
        "page-signup",
        "page-quiet",
        "page-predictions",
    ]


def test_failed_measurement_shows_the_last_known_value(client: TestClient) -> None:
    found = {one["name"]: one for one in client.get("/slo/data/slos", headers=as_user("guest")).json()["slos"]}
    one = found["page-ranking"]
    assert (one["status"], one["sli"], one["last_known"]["sli"]) == ("QUERY_ERROR", None, 0.9999)
    gone = datetime.now(UTC) - datetime.fromisoformat(one["last_known"]["checked_at"])
    assert timedelta(days=1.9) < gone < timedelta(days=2.1)
    assert "last known 99.99" in client.get("/slo/overview", headers=as_user("guest")).text
    assert "Last known: SLI 99.99" in client.get("/slo/slo?name=page-ranking", headers=as_user("guest")).text
    assert found["page-checkout"]["last_known"] is None


def test_overview_filters_in_the_url_select_slos(client: TestClient) -> None:
    def names(query: str) -> set[str]:
        page = client.get(f"/slo/overview?{query}", headers=as_user("guest")).text
        return set(re.findall(r'href="slo\?name=([^"&]*)&amp;service=', page))

    assert names("status=BURNING") == {"page-search"}
    assert names("tier=1") == {"page-checkout", "page-search"}
    assert names("service=models&q=PREDICT") == {"page-predictions"}
    assert names("q=nothing+like+it") == set()


def test_budget_chart_marks_deployments_freezes_and_incidents(client: TestClient) -> None:
    found = client.get("/slo/data/slo?name=page-checkout", headers=as_user("guest")).json()
    what = [event["what"] for event in found["events"]]
    assert what.count("freeze") == 1
    assert {"promote", "rollback", "incident"} <= set(what)
    assert [event["checked_at"] for event in found["events"]] == sorted(event["checked_at"] for event in found["events"])
    assert len(found["history"]) == 30  # the first lies before the window
    assert found["history"][-1]["remaining"] == -0.12
    page = client.get("/slo/slo?name=page-checkout", headers=as_user("guest")).text
    assert page.count('class="event ') == len(what)
    assert "page: 1h above 14.4" in page  # the factor of 30 days


def test_check_links_to_its_task_instance(client: TestClient) -> None:
    page = client.get("/slo/slo?name=page-checkout", headers=as_user("guest")).text
    assert 'class="airflow" href="../dags/promote_model/runs/scheduled__30/tasks/gate"' in page


def test_overview_is_compressed_if_the_client_accepts_gzip(client: TestClient) -> None:
    answer = client.get("/slo/overview", headers={**as_user("admin"), "Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    plain = client.get("/slo/overview", headers={**as_user("admin"), "Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == answer.text
    assert int(answer.headers["content-length"]) == len(gzip.compress(plain.content, 5, mtime=0))


def _down(calls: list[str]) -> Callable[[], Ledger]:
    def opener() -> Ledger:
        calls.append("asked")
        time.sleep(0.3)
        raise LedgerError("ledger postgresql://db/slo: the server could not be reached", reason="connection", transient=True)

    return opener


def test_unreachable_ledger_responds_503_and_is_opened_once(ledger: Ledger) -> None:
    calls: list[str] = []
    with pages(None, source=CachedLedger(_down(calls), clock=lambda: 0.0)) as client:
        for page in ("overview", "checks", "slo?name=x", "data/slos", "metrics"):
            answer = client.get(f"/slo/{page}", headers=as_user("admin"))
            assert answer.status_code == 503
            assert "could not be reached" in answer.text
        assert len(calls) == 1
        assert client.get("/slo/overview").status_code == 401


def test_recovered_ledger_is_used_after_a_pause(ledger: Ledger) -> None:
    state: dict[str, Any] = {"now": 0.0, "calls": []}
    down = _down(state["calls"])
    source = CachedLedger(lambda: ledger if state["now"] > 1 else down(), clock=lambda: state["now"])
    for _ in range(3):
        with pytest.raises(LedgerError, match="could not be reached"):
            source.dag_ids()
    assert len(state["calls"]) == 1
    state["now"] += 6
    assert "promote_model" in source.dag_ids()


def test_slow_ledger_is_opened_by_one_thread_only() -> None:
    calls: list[str] = []
    source = CachedLedger(_down(calls), clock=lambda: 0.0)
    errors: list[str] = []

    def ask() -> None:
        try:
            source.ledger()
        except LedgerError as error:
            errors.append(error.reason)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 20
    assert len(calls) == 1, "the others were told without asking"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", f"name={'x' * 501}"])
def test_query_parameter_out_of_bounds_is_rejected(client: TestClient, query: str) -> None:
    assert client.get(f"/slo/data/checks?kind=slo&{query}", headers=as_user("admin")).status_code == 422


def test_parameter_error_is_json_without_markup(client: TestClient) -> None:
    answer = client.get("/slo/data/checks?kind=slo&limit=<img src=x>", headers=as_user("admin"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/json"


def test_drift_heat_map_shows_features_by_day(client: TestClient) -> None:
    page = client.get("/slo/checks", headers=as_user("guest")).text
    heat = page[page.index("training vs today: feature by feature") :]
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', heat[: heat.index("</table>")])
    cells = {
        name: [re.sub(r"<[^>]*>", " ", cell).split() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for name, row in rows
    }
    assert list(cells) == ["feature_2", "feature_5"]  # the worst first; a column's own check is not a map of its own
    assert [cell[:2] for cell in cells["feature_2"]] == [[]] * 4 + [["✓", "pass"]] * 7 + [["✕", "fail"]] * 3
    assert cells["feature_2"][-1] == ["✕", "fail", "0.33"]
    assert cells["feature_5"][4:] == [["▲", "warn", "0.12"]] * 10
    assert "training vs today.feature_5: feature by feature" not in page


def test_golden_set_metrics_are_shown_by_version(client: TestClient) -> None:
    page = client.get("/slo/checks", headers=as_user("guest")).text
    auc = page[page.index("churn: auc over versions") : page.index("churn: recall over versions")]
    assert re.findall(r'<tr><th scope="row">([^<]*)</th>', auc) == ["5", "4", "3", "2", "1"]
    assert ">target</text>" in auc
    assert "0.925</td>" in auc
    assert "0.905 to 0.94" in auc
    assert "churn/auc: " not in page


def test_incident_shows_its_playbook_and_timeline(client: TestClient) -> None:
    page = client.get("/slo/incidents", headers=as_user("guest")).text
    one = page[page.index("<h2>checkout-1a2b</h2>") :]
    assert "Playbook: 1 of 2 steps done" in one
    assert (
        one.index("page-checkout burns</td>") < one.index("freeze deployments: done</td>") < one.index("roll back: running</td>")
    )


def test_deployment_shows_versions_and_user(client: TestClient) -> None:
    page = client.get("/slo/deployments", headers=as_user("guest")).text
    row = page[page.index("champion is 5") - 400 : page.index("champion is 5")]
    assert "4 → 5" in row
    assert "<td>mia</td>" in row


def test_multi_team_setting_shows_only_dags_that_airflow_lists(monkeypatch: pytest.MonkeyPatch, client: TestClient) -> None:
    """With several teams only Airflow knows whose a DAG is: one that it does not list is not shown."""
    from airflow.api_fastapi.app import get_auth_manager

    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    monkeypatch.setattr(get_auth_manager(), "get_authorized_dag_ids", lambda **_: {"promote_model", "another"}, raising=False)
    assert client.get("/slo/dag?dag_id=promote_model", headers=as_user("admin")).status_code == 200
    assert client.get("/slo/dag?dag_id=secret_dag", headers=as_user("admin")).status_code == 403
    found = [one["name"] for one in client.get("/slo/data/slos", headers=as_user("admin")).json()["slos"]]
    assert "page-checkout" in found
    assert "page-payroll" not in found
