"""The tracer of one prediction request: spans with the names and attributes of machine learning, that never break a prediction.

::

    tracer = MLRequestTracer(request_id, model_version)
    with tracer.trace_request(headers):
        with tracer.span_feature_fetch(entity_ids, feature_count=24):
            features = ...
        with tracer.span_model_inference(batch_size=1):
            ...
    log(tracer.trace_id)

Each of these is a context manager, an asynchronous one, and a decorator of functions, plain or ``async``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from airflow_slo_provider.tracing.recording.failure_log import log_failure

if TYPE_CHECKING:
    from airflow_slo_provider.tracing.recording.request_spans import Request

REQUEST, FEATURE_FETCH, CACHE_LOOKUP = "ml_prediction_request", "feature_fetch", "cache_lookup"
MODEL_INFERENCE, POST_PROCESS = "model_inference", "post_process"

_Function = TypeVar("_Function", bound=Callable[..., Any])


class TracingUnavailable(ImportError):
    """OpenTelemetry is not installed."""


class MLRequestTracer:
    """Traces one request. Make one per request; it holds the request's ids afterwards.

    What goes wrong inside the tracer is logged once and costs spans, never the prediction.

    :param request_id: as in the prediction log
    :param model_version: version of the model that answers; on every span
    :raises TracingUnavailable: when OpenTelemetry is not installed
    """

    __slots__ = ("_request", "model_version", "request_id")

    def __init__(self, request_id: str, model_version: str) -> None:
        _require()
        self.request_id = request_id
        self.model_version = model_version
        self._request: Request | None = None

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hex digits, also after the request; empty before it."""
        return "" if self._request is None else self._request.trace_id

    @property
    def span_id(self) -> str:
        """The id of the request's span, 16 hex digits, also after the request; empty before it."""
        return "" if self._request is None else self._request.span_id

    @property
    def exported(self) -> bool:
        """Whether the trace is, or will be, in the trace store: sampled, or kept by a rule once the request has ended."""
        return self._request is not None and self._request.exported

    def headers(self) -> dict[str, str]:
        """Return the W3C trace context of this moment, for requests to other services."""
        carrier: dict[str, str] = {}
        try:
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            TraceContextTextMapPropagator().inject(carrier)
        except Exception as error:
            log_failure("headers", error)
        return carrier

    def fail(self, reason: str) -> None:
        """Mark the request as failed, where no exception says so (a fallback answered, the status is 503)."""
        try:
            if self._request is not None:
                self._request.fail(reason)
        except Exception as error:
            log_failure("fail", error)

    @overload
    def trace_request(self, headers: _Function) -> _Function: ...
    @overload
    def trace_request(
        self, headers: Mapping[str, str] | None = None, attributes: Mapping[str, Any] | None = None, **more: Any
    ) -> Scope: ...

    def trace_request(self, headers: Any = None, attributes: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Trace the whole request.

        :param headers: of the incoming request: a W3C ``traceparent`` in them is joined
        :param attributes: further attributes of the span, those that are no Python names
        :param more: further attributes
        """
        if callable(headers):
            return Scope(self, REQUEST, {}, whole=True)(headers)
        return Scope(self, REQUEST, {"request_id": self.request_id, **_merged(attributes, more)}, whole=True, headers=headers)

    def span_feature_fetch(self, entity_ids: Any, feature_count: int) -> Scope:
        """Trace the fetching of features.

        :param entity_ids: the entities looked up, or how many; only their number is kept
        :param feature_count: features per entity
        """
        return Scope(self, FEATURE_FETCH, {"entity_count": _count(entity_ids), "feature_count": feature_count})

    def span_cache_lookup(self, hit: bool | None = None) -> Scope:
        """Trace a look into a cache: ``with tracer.span_cache_lookup() as span: span.set_attribute("cache.hit", ...)``.

        :param hit: whether it was there, where that is known before
        """
        return Scope(self, CACHE_LOOKUP, {} if hit is None else {"cache.hit": _truth(hit)})

    def span_model_inference(self, batch_size: int = 1) -> Scope:
        """Trace the model itself.

        :param batch_size: rows predicted at once
        """
        return Scope(self, MODEL_INFERENCE, {"batch_size": batch_size})

    def span_post_process(self, **attributes: Any) -> Scope:
        """Trace what is done with the model's answer."""
        return Scope(self, POST_PROCESS, attributes)

    def span(self, name: str, attributes: Mapping[str, Any] | None = None, **more: Any) -> Scope:
        """Trace anything else.

        :param attributes: of the span, those that are no Python names
        :param more: further attributes
        """
        return Scope(self, name, _merged(attributes, more))


class Scope:
    """A span as a context manager, an asynchronous one, and a decorator."""

    __slots__ = ("_attributes", "_headers", "_name", "_open", "_request", "_tracer", "_whole")

    def __init__(
        self,
        tracer: MLRequestTracer,
        name: str,
        attributes: dict[str, Any],
        *,
        whole: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        attributes["model_version"] = tracer.model_version
        if whole:
            attributes.setdefault("request_id", tracer.request_id)
        self._tracer, self._name, self._attributes = tracer, name, attributes
        self._whole, self._headers = whole, headers
        self._open: Any = None
        self._request: Request | None = None

    def __enter__(self) -> Any:
        try:
            from airflow_slo_provider.tracing.recording import request_spans as recording

            tracer = self._tracer
            if self._whole:
                request = tracer._request = recording.Request(self._name, self._attributes, self._headers)
            else:
                found = tracer._request
                request = recording.Request.outside() if found is None else found
            self._request = request
            self._open = request.enter(self._name, self._attributes, whole=self._whole)
            return self._open[0]
        except Exception as error:
            log_failure(self._name, error)
            return INERT

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        opened, self._open = self._open, None
        if opened is None or self._request is None:
            return
        try:
            self._request.leave(opened, error, whole=self._whole)
        except Exception as problem:
            log_failure(self._name, problem)

    async def __aenter__(self) -> Any:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: _Function) -> _Function:
        """Trace every call of a function; each call has a span of its own."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def traced(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

        else:

            @wraps(function)
            def traced(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return function(*args, **kwargs)

        return traced  # type: ignore[return-value]

    def _again(self) -> Scope:
        return Scope(self._tracer, self._name, dict(self._attributes), whole=self._whole, headers=self._headers)


class _Inert:
    """Stands in for a span that could not be made: takes everything, keeps nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None

    def is_recording(self) -> bool:
        """Whether anything is kept."""
        return False


INERT = _Inert()
_found = False


def _require() -> None:
    global _found
    if not _found:
        try:
            import opentelemetry.trace  # noqa: F401
        except ImportError as error:
            raise TracingUnavailable(
                "MLRequestTracer needs OpenTelemetry: pip install 'airflow-slo-provider[tracing]', "
                "or opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
            ) from error
        _found = True


def _count(entities: Any) -> int:
    if isinstance(entities, int):
        return entities
    try:
        return len(entities)
    except Exception:  # a generator, None, or an object that has a mind of its own
        return 1


def _truth(value: Any) -> bool:
    try:
        return bool(value)
    except Exception:  # an array has several
        return False


def _merged(attributes: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Return both; what is no mapping is said and left out."""
    if attributes is None:
        return more
    try:
        return {**attributes, **more}
    except Exception as error:
        log_failure("attributes", error)
        return more
