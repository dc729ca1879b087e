"""How the pages answer: templates that escape everything, and headers that let a browser load nothing from anywhere else."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.charts.bars import bar
from airflow_slo_provider.charts.report_page import badge
from airflow_slo_provider.charts.time_series import sparkline
from airflow_slo_provider.ledger.mapped_task_names import shown_name
from airflow_slo_provider.plugins.slo_page import formatting as words
from airflow_slo_provider.plugins.slo_page import safe_evidence as evidence

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.responses import Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Our own style sheet and script, requests and forms to this server, frames only within Airflow. Nothing inline.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
#: A report is a file that a task wrote: it may be looked at, and do nothing. Its origin is none.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)
AT_ONCE = 8
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Place:
    """Which ledger the pages show.

    :param where: the database, without credentials; empty while it is not open
    :param environment: whose rows of it
    :param problem: why it is not the ledger that tasks use; empty where it is, or may be
    """

    where: str = ""
    environment: str = ""
    problem: str = ""


#: Says at the foot of each page which ledger it shows; each application sets its own for its requests.
_PLACE: ContextVar[Callable[[], Place]] = ContextVar("ledger of the SLO pages", default=Place)


class SecureHeaders:
    """Puts the headers on every answer that does not carry its own.

    Only so many requests are answered at once; the others wait without a thread. The API server has 40 threads for everything,
    and a slow ledger must not take them from Airflow.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], place: Callable[[], Place]) -> None:
        self.app = app
        self.place = place
        self.turns = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message.get("headers", ())}
                more = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *(item for item in more if item[0] not in there)]
            await send(message)

        _PLACE.set(self.place)
        async with self.turns:
            await self.app(scope, receive, send_with_headers)


@cache
def templates() -> Environment:
    """The templates. Whatever they show is escaped, unless one of our own functions made it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("airflow_slo_provider.plugins.slo_page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": words.percent,
        "budget": words.budget,
        "spent": words.spent,
        "span": words.seconds,
        "num": words.number,
        "rate": words.rate,
        "moment": words.moment,
        "badge": badge,
        "tone": words.tone,
        "state": words.state,
        "outcome": words.outcome,
        "shown_name": shown_name,
        "part": words.part,
        "task_url": words.task_url,
        "slo_url": words.slo_url,
        "pretty": evidence.pretty,
    }
    made.globals |= {"ledger_place": lambda: _PLACE.get()()}
    made.globals |= {"ago": words.ago, "measured": words.measured, "bar": bar, "sparkline": sparkline}
    return made


def render(template: str, **values: Any) -> str:
    """Render a page."""
    return templates().get_template(template).render(**values)


@dataclass(frozen=True)
class Page:
    """A rendered page, plain and compressed, to be sent many times."""

    plain: bytes
    small: bytes

    @classmethod
    def of(cls, text: str) -> Page:
        """Compress a page once."""
        plain = text.encode()
        return cls(plain, gzip.compress(plain, compresslevel=5, mtime=0))

    def answer(self, request: Request) -> Response:
        """Send it in the form that the browser takes."""
        from starlette.responses import Response

        headers = {"Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.small, media_type="text/html", headers=headers | {"Content-Encoding": "gzip"})
        return Response(self.plain, media_type="text/html", headers=headers)


def html(template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a page and send it."""
    from starlette.responses import HTMLResponse

    return HTMLResponse(render(template, **values), status_code=status)


def wants_html(request: Request) -> bool:
    """Whether a person asks, and no program."""
    return "text/html" in request.headers.get("accept", "") and "/data/" not in request.url.path
