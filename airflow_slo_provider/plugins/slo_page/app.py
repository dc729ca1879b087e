"""FastAPI application of the SLO pages. Every route authenticates the user through Airflow first."""

from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from airflow_slo_provider.charts.report_page import CSS
from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger.prometheus_text import exposition, newest_checks
from airflow_slo_provider.ledger.queries import checks as check_queries
from airflow_slo_provider.plugins.slo_page import change_pages, checks_page, details, report_files, safe_evidence, slo_details
from airflow_slo_provider.plugins.slo_page.access import ReadableDags, may_read, readable_dags
from airflow_slo_provider.plugins.slo_page.cached_ledger import CachedLedger
from airflow_slo_provider.plugins.slo_page.json_forms import check_json, slo_details_json, slo_summary_json
from airflow_slo_provider.plugins.slo_page.responses import SecureHeaders, html_response, wants_html
from airflow_slo_provider.plugins.slo_page.slo_summaries import SLOSummary, overview_values

# No postponed annotations here: FastAPI evaluates those of the functions inside create_app, which use local names.
User = Annotated[Any, Depends(get_user)]
Text = Annotated[str, Query(max_length=500)]
_STATIC = {"slo.css": "text/css", "slo.js": "text/javascript", "icon.svg": "image/svg+xml", "icon_dark.svg": "image/svg+xml"}


def _require_readable(user: User, dag_id: Text) -> str:
    if not may_read(user, dag_id):
        raise HTTPException(403, "you may not read this DAG")
    return dag_id


ReadableDag = Annotated[str, Depends(_require_readable)]


@cache
def default_app() -> FastAPI:
    """Return the application of this process, which reads the configured ledger."""
    return create_app(CachedLedger())


def create_app(source: CachedLedger) -> FastAPI:
    """Create the application.

    :param source: reads the ledger
    """
    # No API documentation page, because it would load scripts from another server.
    app = FastAPI(
        title="SLO pages",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(get_user)],
        redirect_slashes=False,
    )
    app.add_middleware(SecureHeaders, ledger_info=source.info)
    app.add_exception_handler(AnyHTTPException, _http_error)
    app.add_exception_handler(LedgerError, _ledger_error)

    def dags_of_user(user: User) -> ReadableDags:
        return readable_dags(user, source.dag_ids())

    Readable = Annotated[ReadableDags, Depends(dags_of_user)]

    @app.get("/")
    def root() -> Response:
        return RedirectResponse("overview")

    @app.get("/overview")
    def overview(
        request: Request, readable: Readable, q: Text = "", status: Text = "", service: Text = "", tier: Text = ""
    ) -> Response:
        if not (q or status or service or tier):
            return source.overview_page(readable).response(request)
        found = source.overview(readable)
        shown = [slo for slo in found.slos if _matches(slo, q, status, service, tier)]
        return html_response("overview.html", **overview_values(found, shown, q=q, status=status, service=service, tier=tier))

    @app.get("/slo")
    def slo(readable: Readable, name: Text, service: Text | None = None, group: Text | None = None) -> Response:
        try:
            return html_response("slo.html", view=_read_slo(source, readable, name, service, group))
        except slo_details.AmbiguousSLOName as error:
            found = source.overview(readable)
            by_key = {slo.key: slo for slo in found.slos}
            candidates = [SLOSummary(row) for row in error.slos]
            shown = sorted((by_key.get(slo.key, slo) for slo in candidates), key=lambda slo: slo.rank)
            return html_response("overview.html", **overview_values(found, shown, q=name))

    @app.get("/checks")
    def checks(readable: Readable) -> Response:
        view = source.cached("checks", readable, lambda: checks_page.read_checks(source.ledger(), readable))
        return html_response("checks.html", view=view)

    @app.get("/history")
    def history(readable: Readable, kind: Text, name: Text) -> Response:
        view = details.read_history(source.ledger(), readable, kind, name)
        if view is None:
            raise HTTPException(404, f"there is no check {kind}/{name} that you may see")
        return html_response("history.html", view=view)

    @app.get("/check")
    def check(readable: Readable, id: Text) -> Response:  # noqa: A002 - the name in the URL
        row = _readable_row(source, readable, id)
        evidence = row.result.evidence
        reports, traces = safe_evidence.report_keys(evidence), details.trace_urls(evidence)
        return html_response("check.html", row=row, reports=reports, traces=traces)

    @app.get("/deployments")
    def deployments(readable: Readable) -> Response:
        view = source.cached("deployments", readable, lambda: change_pages.read_deployments(source.ledger(), readable))
        return html_response("deployments.html", view=view)

    @app.get("/incidents")
    def incidents(readable: Readable) -> Response:
        found = source.cached("incidents", readable, lambda: change_pages.read_incidents(source.ledger(), readable))
        return html_response("incidents.html", incidents=found)

    @app.get("/dag")
    def dag(dag_id: ReadableDag) -> Response:
        groups = details.read_dag_checks(source.ledger(), dag_id)
        return html_response("dag.html", dag_id=dag_id, groups=groups, now=datetime.now(UTC))

    @app.get("/run")
    def run(dag_id: ReadableDag, run_id: Text, task_id: Text = "", map_index: Text = "") -> Response:
        view = details.read_run_checks(source.ledger(), dag_id, run_id, task_id or None, _read_map_index(map_index))
        return html_response("run.html", view=view)

    @app.get("/run/{button}")
    def run_button(button: str, dag_id: ReadableDag, run_id: Text, task_id: Text, map_index: Text = "") -> Response:
        """Redirect the buttons "Report" and "Trace" of a task instance."""
        if button not in ("report", "trace"):
            raise HTTPException(404, "there is no such page")
        found = details.read_run_checks(source.ledger(), dag_id, run_id, task_id, _read_map_index(map_index))
        return RedirectResponse(details.button_url(found, button), status_code=303)

    @app.get("/metrics")
    def metrics(readable: Readable) -> Response:
        rows = readable.filter(newest_checks(source.ledger(), dags=readable.query_filter))
        return Response(exposition(rows), media_type="text/plain; version=0.0.4")

    @app.get("/report")
    def report(readable: Readable, id: Text, key: Text = "") -> Response:  # noqa: A002 - the name in the URL
        return report_files.report_response(_readable_row(source, readable, id).result.evidence, key)

    @app.get("/data/slos")
    def data_slos(readable: Readable) -> Response:
        found, info = source.overview(readable), source.info()
        head = {"at": found.at.isoformat(), "ledger": info.database, "environment": info.environment}
        return JSONResponse({**head, "slos": [slo_summary_json(slo) for slo in found.slos]})

    @app.get("/data/slo")
    def data_slo(readable: Readable, name: Text, service: Text | None = None, group: Text | None = None) -> Response:
        try:
            return JSONResponse(slo_details_json(_read_slo(source, readable, name, service, group)))
        except slo_details.AmbiguousSLOName as error:
            raise HTTPException(409, str(error)) from None

    @app.get("/data/checks")
    def data_checks(
        readable: Readable,
        kind: Text,
        name: Text = "",
        service: Text | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        dags = readable.query_filter
        rows = check_queries.recent(source.ledger(), [kind], name=name or None, service=service, dags=dags, limit=limit)
        return JSONResponse({"checks": [check_json(row) for row in readable.filter(rows)]})

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        media_type = _STATIC.get(name)
        if media_type is None:
            raise HTTPException(404, "there is no such file")
        return Response(_read_static(name), media_type=media_type, headers={"Cache-Control": "private, max-age=300"})

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def not_found(path: str) -> Response:
        raise HTTPException(404, "there is no such page")

    return app


def _read_slo(
    source: CachedLedger, readable: ReadableDags, name: str, service: str | None, group: str | None
) -> slo_details.SLODetails:
    view = slo_details.read_slo(source.ledger(), readable, name, service, group)
    if view is None:
        which = f"an SLO named {name!r}" + (f" of service {service!r}" if service else "")
        raise HTTPException(404, f"there is no check of {which} that you may see")
    return view


def _matches(slo: SLOSummary, q: str, status: str, service: str, tier: str) -> bool:
    fits = all(value in ("", actual) for value, actual in ((status, slo.status), (service, slo.service), (tier, slo.tier)))
    return fits and q.casefold() in f"{slo.name} {slo.service} {slo.row.result.message}".casefold()


def _readable_row(source: CachedLedger, readable: ReadableDags, identity: str) -> Any:
    row = check_queries.by_identity(source.ledger(), identity)
    # The same response in both cases, so that a user without permission cannot find out that a check exists.
    if row is None or not readable.allows(row.key.dag_id):
        raise HTTPException(404, "there is no such check that you may see")
    return row


def _read_map_index(text: str) -> int | None:
    """Read a map index; the UI sends -1 or nothing for a task that is not mapped."""
    try:
        return int(text)
    except ValueError:
        return None


@cache
def _read_static(name: str) -> bytes:
    text = files("airflow_slo_provider.plugins.slo_page").joinpath("static", name).read_text(encoding="utf-8")
    return (CSS + text if name == "slo.css" else text).encode()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    if not wants_html(request):
        return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
    titles = {401: "Please log in", 403: "Not permitted", 404: "Not found"}
    title = titles.get(error.status_code, "The request failed")
    return html_response("error.html", status=error.status_code, title=title, message=str(error.detail), code=error.status_code)


async def _ledger_error(request: Request, error: Exception) -> Response:
    """Respond with status 503 if the ledger does not answer. The error message contains no password."""
    if not wants_html(request):
        return JSONResponse({"detail": str(error)}, status_code=503)
    return html_response("error.html", status=503, title="The ledger does not answer", message=str(error), code=503)
