"""FastAPI application of the SLO pages. Every route authenticates the user through Airflow first."""

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
from airflow_slo_provider.ledger.queries import checks as browse
from airflow_slo_provider.plugins.slo_page import change_pages as events
from airflow_slo_provider.plugins.slo_page import checks_page as kinds
from airflow_slo_provider.plugins.slo_page import details, report_files, slo_details
from airflow_slo_provider.plugins.slo_page import json_forms as data
from airflow_slo_provider.plugins.slo_page import responses as answers
from airflow_slo_provider.plugins.slo_page.access import Scope, may_read, scope_of
from airflow_slo_provider.plugins.slo_page.ledger_view import Desk
from airflow_slo_provider.plugins.slo_page.objectives import Objective, choices

# No postponed annotations here: FastAPI evaluates those of the functions inside make_app, which use local names.
User = Annotated[Any, Depends(get_user)]
Words = Annotated[str, Query(max_length=500)]
_STATIC = {"slo.css": "text/css", "slo.js": "text/javascript", "icon.svg": "image/svg+xml", "icon_dark.svg": "image/svg+xml"}


@cache
def the_app() -> FastAPI:
    """Return the application of this process."""
    return make_app(Desk())


def make_app(desk: Desk) -> FastAPI:
    """Create the application.

    :param desk: reads the ledger
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
    app.add_middleware(answers.SecureHeaders, place=desk.place)
    app.add_exception_handler(AnyHTTPException, _refusal)
    app.add_exception_handler(LedgerError, _no_ledger)

    def scope(user: User) -> Scope:
        return scope_of(user, desk.dag_ids())

    Seen = Annotated[Scope, Depends(scope)]

    @app.get("/")
    def root() -> Response:
        return RedirectResponse("overview")

    @app.get("/overview")
    def overview(
        request: Request, seen: Seen, q: Words = "", status: Words = "", service: Words = "", tier: Words = ""
    ) -> Response:
        if not (q or status or service or tier):
            return desk.overview_page(seen).answer(request)
        found = desk.overview(seen)
        chosen = [one for one in found.objectives if _matches(one, q, status, service, tier)]
        return answers.html(
            "overview.html",
            found=found,
            chosen=chosen,
            filters={"q": q, "status": status, "service": service, "tier": tier},
            **choices(found.objectives),
        )

    @app.get("/slo")
    def slo(seen: Seen, name: Words, service: Words | None = None) -> Response:
        try:
            return answers.html("slo.html", view=_slo(desk, seen, name, service))
        except slo_details.SeveralServices as error:
            found = desk.overview(seen)
            listed = {one.key: one for one in found.objectives}
            several = [Objective(row) for row in error.slos]
            return answers.html(
                "overview.html",
                found=found,
                chosen=sorted((listed.get(one.key, one) for one in several), key=lambda one: one.rank),
                filters={"q": name, "status": "", "service": "", "tier": ""},
                **choices(found.objectives),
            )

    @app.get("/checks")
    def checks(seen: Seen) -> Response:
        return answers.html("checks.html", view=desk.kept("checks", seen, lambda: kinds.checks_view(desk.ledger(), seen)))

    @app.get("/history")
    def history(seen: Seen, kind: Words, name: Words) -> Response:
        view = details.history_view(desk.ledger(), seen, kind, name)
        if view is None:
            raise HTTPException(404, f"there is no check {kind}/{name} that you may see")
        return answers.html("history.html", view=view)

    @app.get("/check")
    def check(seen: Seen, id: Words) -> Response:  # noqa: A002 - the name in the URL
        row = _readable_row(desk, seen, id)
        return answers.html("check.html", view=details.check_view(row))

    @app.get("/deployments")
    def deployments(seen: Seen) -> Response:
        return answers.html(
            "deployments.html", view=desk.kept("deployments", seen, lambda: events.deployments_view(desk.ledger(), seen))
        )

    @app.get("/incidents")
    def incidents(seen: Seen) -> Response:
        return answers.html(
            "incidents.html", view=desk.kept("incidents", seen, lambda: events.incidents_view(desk.ledger(), seen))
        )

    @app.get("/dag")
    def dag(user: User, dag_id: Words) -> Response:
        if not may_read(user, dag_id):
            raise HTTPException(403, "you may not read this DAG")
        return answers.html("dag.html", view=details.dag_view(desk.ledger(), dag_id))

    @app.get("/run")
    def run(user: User, dag_id: Words, run_id: Words, task_id: Words = "", map_index: Words = "") -> Response:
        if not may_read(user, dag_id):
            raise HTTPException(403, "you may not read this DAG")
        view = details.run_view(desk.ledger(), dag_id, run_id, task_id or None, _index(map_index))
        return answers.html("run.html", view=view)

    @app.get("/run/{what}")
    def from_run(user: User, what: str, dag_id: Words, run_id: Words, task_id: Words, map_index: Words = "") -> Response:
        """Redirect the buttons "Report" and "Trace" of a task instance."""
        if what not in ("report", "trace"):
            raise HTTPException(404, "there is no such page")
        if not may_read(user, dag_id):
            raise HTTPException(403, "you may not read this DAG")
        view = details.run_view(desk.ledger(), dag_id, run_id, task_id, _index(map_index))
        return RedirectResponse(details.target(view, what), status_code=303)

    @app.get("/metrics")
    def metrics(seen: Seen) -> Response:
        rows = [row for row in newest_checks(desk.ledger(), dags=seen.limit) if seen.allows(row.key.dag_id)]
        return Response(exposition(rows), media_type="text/plain; version=0.0.4")

    @app.get("/report")
    def report(seen: Seen, id: Words, key: Words = "") -> Response:  # noqa: A002 - the name in the URL
        row = _readable_row(desk, seen, id)
        return report_files.answer(row.result.evidence, key)

    @app.get("/data/slos")
    def data_slos(seen: Seen) -> Response:
        found = desk.overview(seen)
        place = desk.place()
        told = {"at": found.at.isoformat(), "ledger": place.where, "environment": place.environment}
        return JSONResponse({**told, "slos": [data.objective(one) for one in found.objectives]})

    @app.get("/data/slo")
    def data_slo(seen: Seen, name: Words, service: Words | None = None) -> Response:
        try:
            return JSONResponse(data.slo(_slo(desk, seen, name, service)))
        except slo_details.SeveralServices as error:
            raise HTTPException(409, str(error)) from None

    @app.get("/data/checks")
    def data_checks(
        seen: Seen,
        kind: Words,
        name: Words = "",
        service: Words | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        rows = browse.recent(desk.ledger(), [kind], name=name or None, service=service, dags=seen.limit, limit=limit)
        return JSONResponse({"checks": [data.check(row) for row in rows if seen.allows(row.key.dag_id)]})

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        kind = _STATIC.get(name)
        if kind is None:
            raise HTTPException(404, "there is no such file")
        return Response(_static(name), media_type=kind, headers={"Cache-Control": "private, max-age=300"})

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def nothing(path: str) -> Response:
        raise HTTPException(404, "there is no such page")

    return app


def _slo(desk: Desk, seen: Scope, name: str, service: str | None) -> slo_details.SLOView:
    view = slo_details.slo_view(desk.ledger(), seen, name, service)
    if view is None:
        which = f"an SLO named {name!r}" + (f" of service {service!r}" if service else "")
        raise HTTPException(404, f"there is no check of {which} that you may see")
    return view


def _matches(one: Objective, q: str, status: str, service: str, tier: str) -> bool:
    chosen = all(not wanted or wanted == has for wanted, has in ((status, one.status), (service, one.service), (tier, one.tier)))
    return chosen and q.casefold() in f"{one.name} {one.service} {one.row.result.message}".casefold()


def _readable_row(desk: Desk, seen: Scope, identity: str) -> Any:
    row = browse.by_identity(desk.ledger(), identity)
    # The same answer in both cases, so that a user without permission cannot find out that a check exists.
    if row is None or not seen.allows(row.key.dag_id):
        raise HTTPException(404, "there is no such check that you may see")
    return row


def _index(text: str) -> int | None:
    """Read a map index; the UI sends -1 or nothing for a task that is not mapped."""
    try:
        return int(text)
    except ValueError:
        return None


@cache
def _static(name: str) -> bytes:
    text = files("airflow_slo_provider.plugins.slo_page").joinpath("static", name).read_text(encoding="utf-8")
    return (CSS + text if name == "slo.css" else text).encode()


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    if not answers.wants_html(request):
        return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
    titles = {401: "Please log in", 403: "Not for you", 404: "Not found"}
    return answers.html(
        "error.html",
        status=error.status_code,
        title=titles.get(error.status_code, "This did not work"),
        said=str(error.detail),
        code=error.status_code,
    )


async def _no_ledger(request: Request, error: Exception) -> Response:
    """Answer with status 503 if the ledger does not respond. The error message contains no password."""
    if not answers.wants_html(request):
        return JSONResponse({"detail": str(error)}, status_code=503)
    return answers.html("error.html", status=503, title="The ledger does not answer", said=str(error), code=503)
