"""The SLO pages inside a real Airflow, in a real Chromium. The scenarios are in browser/slo_pages.py."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest

from airflow_slo_provider.charts.report_page import page, table
from airflow_slo_provider.ledger import open_ledger
from tests.airflow.page_data import fill
from tests.peers import peer
from tests.support import need

pytestmark = pytest.mark.e2e

SCRIPT = Path(__file__).parent / "browser" / "slo_pages.py"
SCENARIOS = re.findall(r"^@scenario\ndef (\w+)", SCRIPT.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def recorded(airflow_stack) -> dict[str, Any]:
    """Run a DAG that records checks, in a ledger with a month of other checks."""
    report = airflow_stack.home / "slo_reports" / "drift.html"
    report.parent.mkdir(exist_ok=True)
    report.write_text(
        page("Drift of the live data", table(["feature", "verdict"], [["age", "pass"]], verdicts=[1]), verdict="pass")
    )
    with open_ledger(f"sqlite:///{airflow_stack.home / 'slo_ledger.db'}") as ledger:
        fill(ledger, report=str(report))
    client = airflow_stack.client
    client.wait_for_dag("e2e_slo_pages")
    client.unpause("e2e_slo_pages")
    run_id = client.trigger("e2e_slo_pages", conf={"report": str(report)})
    assert client.wait_for_run("e2e_slo_pages", run_id, timeout=120) == "success"
    return {"dag_id": "e2e_slo_pages", "run_id": run_id, "task_id": "record", "slo": "page-live"}


@pytest.fixture(scope="module")
def results(airflow_stack, recorded, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """Run all scenarios in one browser; return the error of each, or None."""
    chromium = need("chromium")
    programs = peer("browser")
    (axe,) = programs.parent.glob("lib/python*/site-packages/axe_playwright_python/axe.min.js")
    work = tmp_path_factory.mktemp("browser")
    settings = {
        "url": airflow_stack.url,
        "user": "demo",
        "password": airflow_stack.password,
        "chromium": chromium,
        "axe": str(axe),
        "shots": os.environ.get("SLO_TEST_SHOTS") or str(work / "shots"),
        "task": recorded,
    }
    (work / "settings.json").write_text(json.dumps(settings))
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [programs / "python", SCRIPT, work / "settings.json"], capture_output=True, text=True, timeout=600, check=False, env=env
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_browser_scenario_passes(results: dict[str, str | None], scenario: str) -> None:
    assert results[scenario] is None, results[scenario]


def _ask(stack, path: str, *, login: bool, method: str = "GET") -> tuple[int, str, str]:
    stack.client.import_errors()  # logs in
    request = urllib.request.Request(stack.url + path, method=method)
    if login:
        request.add_header("Cookie", f"_token={stack.client._token}")

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_arguments: Any) -> None:
            return None

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect())
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, answer.read().decode(), ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers.get("Location") or ""


def test_route_without_login_responds_401(airflow_stack, recorded) -> None:
    from airflow_slo_provider.plugins.slo_page.app import create_app
    from airflow_slo_provider.plugins.slo_page.cached_ledger import CachedLedger

    query = "?name=page-live&kind=slo&dag_id=e2e_slo_pages&run_id=x&task_id=record&id=0"
    paths = {route.path for route in create_app(CachedLedger()).routes}
    assert len(paths) > 15
    for path in paths:
        asked = "/slo" + path.replace("{name}", "slo.css").replace("{button}", "report").replace("{path:path}", "a/b") + query
        assert _ask(airflow_stack, asked, login=False)[0] == 401, asked


def test_buttons_of_a_task_instance_open_their_pages(airflow_stack, recorded) -> None:
    path = "/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances/{task_id}/links".format(
        run=quote(recorded["run_id"], safe=""), **recorded
    )
    links = airflow_stack.client.call("GET", path)["extra_links"]
    assert set(links) == {"SLO", "Report", "Trace"}
    inside = {name: url.removeprefix(airflow_stack.url) for name, url in links.items()}
    status, text, _ = _ask(airflow_stack, inside["SLO"], login=True)
    assert status == 200
    assert "page-live" in text
    status, _, location = _ask(airflow_stack, inside["Report"], login=True)
    assert status == 303
    status, text, _ = _ask(airflow_stack, urljoin("/slo/run/report", location), login=True)
    assert status == 200
    assert "Drift of the live data" in text
    assert urlsplit(_ask(airflow_stack, inside["Trace"], login=True)[2]).path == "../run"


def test_plugin_loads_without_an_error(airflow_stack) -> None:
    plugins = {one["name"]: one for one in airflow_stack.client.call("GET", "/api/v2/plugins?limit=100")["plugins"]}
    assert [view["destination"] for view in plugins["slo"]["external_views"]] == ["nav", "dag", "dag_run", "task_instance"]
    assert airflow_stack.client.call("GET", "/api/v2/plugins/importErrors")["import_errors"] == []
