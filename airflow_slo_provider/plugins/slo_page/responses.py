"""Render the responses of the SLO pages: auto-escaping templates, and a content security policy that allows only this server."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.charts.bars import bar
from airflow_slo_provider.charts.report_page import badge
from airflow_slo_provider.charts.time_series import sparkline
from airflow_slo_provider.ledger.mapped_task_names import shown_name
from airflow_slo_provider.plugins.slo_page import formatting
from airflow_slo_provider.plugins.slo_page.safe_evidence import format_json

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Style sheet and script of this server, requests and forms to this server, frames only within Airflow, nothing inline.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
#: A report was written by a task: it is sandboxed without an origin and runs no scripts.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)
MAX_CONCURRENT_REQUESTS = 8
_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class LedgerInfo:
    """The ledger that the pages show.

    :param database: the database, without credentials; empty while it is not open
    :param environment: the environment of the rows
    :param problem: why it is not the ledger of the tasks; empty if it is, or may be
    """

    database: str = ""
    environment: str = ""
    problem: str = ""


#: The ledger in the footer of each page; each application sets its own for its requests.
_LEDGER_INFO: ContextVar[Callable[[], LedgerInfo]] = ContextVar("ledger of the SLO pages", default=LedgerInfo)


class SecureHeaders:
    """Middleware that adds security headers to responses and limits concurrent requests.

    Headers that a response already has are kept. Requests over the limit wait without a thread, because the API server has 40
    threads for everything, and a slow ledger must not block Airflow.
    """

    def __init__(self, app: ASGIApp, ledger_info: Callable[[], LedgerInfo]) -> None:
        self.app = app
        self.ledger_info = ledger_info
        self.slots = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message.get("headers", ())}
                more = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *(item for item in more if item[0] not in present)]
            await send(message)

        _LEDGER_INFO.set(self.ledger_info)
        async with self.slots:
            await self.app(scope, receive, send_with_headers)


@cache
def templates() -> Environment:
    """Return the template environment, which escapes all values except those made by this package's HTML functions."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("airflow_slo_provider.plugins.slo_page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": formatting.format_percent,
        "budget": formatting.format_budget,
        "spent": formatting.format_spent,
        "duration": formatting.format_duration,
        "number": formatting.format_number,
        "rate": formatting.format_rate,
        "timestamp": formatting.format_timestamp,
        "badge": badge,
        "color": formatting.color_class,
        "status": formatting.check_status,
        "outcome": formatting.decision_outcome,
        "shown_name": shown_name,
        "url_part": formatting.quote_url_part,
        "task_url": formatting.task_url,
        "slo_url": formatting.slo_url,
        "pretty_json": format_json,
    }
    environment.globals |= {
        "ledger_info": lambda: _LEDGER_INFO.get()(),
        "age": formatting.format_age,
        "value_with_unit": formatting.format_value,
        "bar": bar,
        "sparkline": sparkline,
    }
    return environment


def render(template: str, **values: Any) -> str:
    """Render a template to HTML text."""
    return templates().get_template(template).render(**values)


@dataclass(frozen=True)
class Page:
    """A rendered page, plain and compressed, for repeated responses."""

    plain: bytes
    compressed: bytes

    @classmethod
    def from_html(cls, text: str) -> Page:
        """Compress a page once."""
        plain = text.encode()
        return cls(plain, gzip.compress(plain, compresslevel=5, mtime=0))

    def response(self, request: Request) -> Response:
        """Return the response in the encoding that the browser accepts."""
        from starlette.responses import Response

        headers = {"Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.compressed, media_type="text/html", headers=headers | {"Content-Encoding": "gzip"})
        return Response(self.plain, media_type="text/html", headers=headers)


def html_response(template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a template as an HTML response."""
    from starlette.responses import HTMLResponse

    return HTMLResponse(render(template, **values), status_code=status)


def wants_html(request: Request) -> bool:
    """Return whether the client is a browser and not a program."""
    return "text/html" in request.headers.get("accept", "") and "/data/" not in request.url.path
