"""Trace prediction requests in an ASGI server (FastAPI, Starlette, ...) by a middleware.

::

    app.add_middleware(TracingMiddleware, model_version="v42", paths=("/predict",))

    @app.post("/predict")
    async def predict(request: Request):
        tracer = request.state.ml_tracer
        with tracer.span_model_inference(batch_size=1):
            ...
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from airflow_slo_provider.tracing.recording.failure_log import log_failure
from airflow_slo_provider.tracing.recording.request_tracer import MLRequestTracer

_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]
_Receive = Callable[[], Awaitable[_Message]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class TracingMiddleware:
    """Trace requests, join their ``traceparent``, and mark those that end in a server error as failed.

    The tracer is ``request.state.ml_tracer``. The response has the headers ``x-trace-id`` and ``x-request-id``; the latter is
    taken from the request if it has one.

    :param app: the ASGI application
    :param model_version: version of the model that answers, or a function that returns it
    :param paths: path prefixes of prediction requests; other requests are passed on untraced
    """

    def __init__(self, app: _App, *, model_version: str | Callable[[], str], paths: Iterable[str] = ("/",)) -> None:
        self._app, self._version, self._paths = app, model_version, tuple(paths)

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Handle one request, traced if its path matches."""
        if scope.get("type") != "http" or not str(scope.get("path", "")).startswith(self._paths):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers") or ()}
        tracer = MLRequestTracer(headers.get("x-request-id") or uuid.uuid4().hex, self._current_version())
        scope.setdefault("state", {})["ml_tracer"] = tracer

        async def answer(message: _Message) -> None:
            if message.get("type") == "http.response.start":
                if int(message.get("status", 200)) >= 500:
                    tracer.fail(f"HTTP {message['status']}")
                request_id = tracer.request_id.encode("latin-1", "replace")
                ids = ((b"x-trace-id", tracer.trace_id.encode()), (b"x-request-id", request_id))
                message = {**message, "headers": [*(message.get("headers") or ()), *ids]}
            await send(message)

        attributes = {"http.request.method": scope.get("method", ""), "url.path": scope.get("path", "")}
        with tracer.trace_request(headers, attributes):
            await self._app(scope, receive, answer)

    def _current_version(self) -> str:
        if not callable(self._version):
            return self._version
        try:
            return str(self._version())
        except Exception as error:
            log_failure("model_version", error)
            return "unknown"
