"""The buttons on a task instance, the plugin's registration, and the metrics that go along with a record."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.sdk import BaseOperator

from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.links.slo import ReportLink, SLOLink, TraceLink
from airflow_slo_provider.plugins.slo_page import SLOPagePlugin
from airflow_slo_provider.results import CheckResult
from airflow_slo_provider.runtime.recording import checks as metrics
from airflow_slo_provider.runtime.recording.checks import record
from tests.airflow.page_client import as_user, pages
from tests.airflow.task_runs import run_task

NOW = datetime(2026, 11, 20, tzinfo=UTC)


class Checks(BaseOperator):
    operator_extra_links = (SLOLink(), ReportLink(), TraceLink())

    def __init__(self, *, results: list[CheckResult], **kwargs) -> None:
        super().__init__(**kwargs)
        self.results = results

    def execute(self, context) -> None:
        record(self.results, context)


@pytest.fixture
def ledger_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", url)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/team/")
    monkeypatch.setenv("AIRFLOW__SLO__TRACE_URL", "https://traces.example/t/{trace_id}")
    return url


def _drift(name: str, **evidence: object) -> CheckResult:
    return CheckResult(kind="drift", name=name, verdict="pass", checked_at=NOW, evidence=evidence)


@pytest.mark.parametrize(("link", "page"), [(SLOLink(), "run"), (ReportLink(), "run/report"), (TraceLink(), "run/trace")])
@pytest.mark.parametrize(("index", "expected"), [(-1, "-1"), (None, "-1"), (3, "3")])
def test_button_url_of_a_task_instance_names_its_run_and_map_index(
    ledger_url: str, link, page: str, index: int | None, expected: str
) -> None:
    key = SimpleNamespace(dag_id="d", run_id="manual__2026-11-20T00:00:00+00:00", task_id="g.check", map_index=index)
    url = urlsplit(link.get_link(Checks(task_id="check", results=[]), ti_key=key))
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"https://airflow.example/team/slo/{page}"
    assert parse_qs(url.query) == {"dag_id": ["d"], "run_id": [key.run_id], "task_id": ["g.check"], "map_index": [expected]}


@pytest.mark.parametrize(
    ("what", "results", "expected"),
    [
        ("report", [_drift("a", report_uri="/x/r.html")], "../report?id={a}&key=report_uri"),
        ("report", [_drift("a", report_uri="/x/r.html", report="/x/q.html")], "../check?id={a}"),
        (
            "report",
            [_drift("a", report="/x/r.html"), _drift("b", report="/x/q.html")],
            "../run?dag_id=d&run_id=r&task_id=t&map_index=-1",
        ),
        ("report", [_drift("a", report="/x/r.html"), _drift("b", report="/x/r.html")], "../report?id={b}&key=report"),
        ("report", [_drift("a")], "../run?dag_id=d&run_id=r&task_id=t&map_index=-1"),
        ("trace", [_drift("a", trace_id="ab/../c?")], "https://traces.example/t/ab%2F..%2Fc%3F"),
        ("trace", [_drift("a", trace_ids=["1", "2"])], "../check?id={a}"),
        ("trace", [], "../run?dag_id=d&run_id=r&task_id=t&map_index=-1"),
    ],
)
def test_button_redirects_to_the_report_trace_check_or_run(
    ledger_url: str, what: str, results: list[CheckResult], expected: str
) -> None:
    key = RunKey("d", "r", "t")
    with open_ledger(ledger_url) as ledger:
        ledger.record([_drift("elsewhere", report="/x/y.html", trace_id="9")], RunKey("d", "r", "other"))
        ledger.record(results, key)
        with pages(ledger) as client:
            answer = client.get(f"/slo/run/{what}?dag_id=d&run_id=r&task_id=t&map_index=-1", headers=as_user("admin"))
            assert (
                client.get(f"/slo/run/{what}?dag_id=secret_dag&run_id=r&task_id=t", headers=as_user("guest")).status_code == 403
            )
            assert client.get(f"/slo/run/{what}?dag_id=d&run_id=r&task_id=t").status_code == 401
    assert answer.status_code == 303
    assert answer.headers["location"] == expected.format(**{name: key.identity("drift", name) for name in "ab"})


@pytest.mark.parametrize("form", ["", "https://traces.example/", "javascript:alert('{trace_id}')", "//evil/{trace_id}"])
def test_trace_button_without_a_valid_trace_url_redirects_to_the_check(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("AIRFLOW__SLO__TRACE_URL", form)
    key = RunKey("d", "r", "t")
    with open_ledger(ledger_url) as ledger, pages(ledger) as client:
        ledger.record([_drift("a", trace_id="12ab")], key)
        answer = client.get("/slo/run/trace?dag_id=d&run_id=r&task_id=t", headers=as_user("admin"))
        page = client.get(f"/slo/check?id={key.identity('drift', 'a')}", headers=as_user("admin")).text
    assert answer.headers["location"] == f"../check?id={key.identity('drift', 'a')}"
    assert "12ab" in page
    assert 'class="outside"' not in page


def test_metrics_require_login_and_hide_unreadable_dags(ledger_url: str) -> None:
    with open_ledger(ledger_url) as ledger, pages(ledger) as client:
        ledger.record([_drift("seen")], RunKey("d", "r", "t"))
        ledger.record([_drift("hidden")], RunKey("secret_dag", "r", "t"))
        assert client.get("/slo/metrics").status_code == 401
        everything = client.get("/slo/metrics", headers=as_user("admin")).text
        some = client.get("/slo/metrics", headers=as_user("guest")).text
    assert 'name="hidden"' in everything
    assert 'name="seen"' in some
    assert "hidden" not in some


def test_record_sends_gauges_and_ignores_a_broken_metrics_server(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.observability import stats

    sent: dict[tuple[str, ...], float] = {}

    def gauge(stat: str, value: float, *, tags: dict[str, str], **_more: object) -> None:
        sent[(stat, tags["name"], *([tags["service"]] if "service" in tags else []))] = value

    where = stats if hasattr(stats, "gauge") else stats.Stats  # Airflow 3.3, and 3.2
    monkeypatch.setattr(where, "gauge", gauge)
    slo = CheckResult(
        kind="slo", name="s", verdict="fail", value=0.99, checked_at=NOW, evidence={"remaining": -0.5, "service": "shop"}
    )
    assert run_task(Checks(task_id="check", results=[slo, _drift("a")])).state == "success"
    assert sent == {
        ("slo.check.verdict", "s", "shop"): 2,
        ("slo.check.value", "s", "shop"): 0.99,
        ("slo.budget.remaining", "s", "shop"): -0.5,
        ("slo.check.verdict", "a"): 0,
    }

    def broken(*_arguments: object, **_more: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(where, "gauge", broken)
    assert run_task(Checks(task_id="check", results=[slo])).state == "success"
    metrics.emit([slo])


def test_plugin_is_registered_as_entry_point_with_all_views() -> None:
    from tests.support import REPO

    text = (REPO / "pyproject.toml").read_text()
    assert '[project.entry-points."airflow.plugins"]\nslo = "airflow_slo_provider.plugins.slo_page:SLOPagePlugin"' in text
    plugin = SLOPagePlugin()
    assert [view["destination"] for view in plugin.external_views] == ["nav", "dag", "dag_run", "task_instance"]
    assert len({view["url_route"] for view in plugin.external_views}) == 4
    (app,) = plugin.fastapi_apps
    assert app["url_prefix"] == "/slo"
    assert app["app"] is plugin.fastapi_apps[0]["app"]


def test_plugin_import_on_a_worker_does_not_import_the_pages() -> None:
    program = (
        "import airflow.sdk.plugins_manager, sys; before = set(sys.modules)\n"
        "from airflow_slo_provider.plugins.slo_page import SLOPagePlugin as p; p(); p().external_views\n"
        "heavy = ('fastapi', 'jinja2', 'sqlalchemy', 'starlette', 'airflow_slo_provider')\n"
        "print([m for m in set(sys.modules) - before if m.split('.')[0] in heavy])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(eval(done.stdout.strip().splitlines()[-1]))
    assert loaded - {"airflow_slo_provider"} == {"airflow_slo_provider.plugins", "airflow_slo_provider.plugins.slo_page"}
