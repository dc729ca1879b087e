"""Trace one prediction request: spans for feature fetch, cache lookup, inference and post-processing.

::

    tracer = MLRequestTracer(request_id, model_version)
    with tracer.trace_request(headers):
        with tracer.span_feature_fetch(entity_ids, feature_count=24):
            features = ...
        with tracer.span_model_inference(batch_size=1):
            ...
    log(tracer.trace_id)

Each span is a context manager, an asynchronous context manager, and a decorator for plain and ``async`` functions. An error
inside the tracer never fails the prediction.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from airflow_slo_provider.tracing.recording.failure_log import log_failure

if TYPE_CHECKING:
    from airflow_slo_provider.tracing.recording.request_spans import RequestSpans

REQUEST, FEATURE_FETCH, CACHE_LOOKUP = "ml_prediction_request", "feature_fetch", "cache_lookup"
MODEL_INFERENCE, POST_PROCESS = "model_inference", "post_process"

_Function = TypeVar("_Function", bound=Callable[..., Any])


class TracingUnavailable(ImportError):
    """OpenTelemetry is not installed."""


class MLRequestTracer:
    """Trace one request. Create one tracer per request; it keeps the request's ids afterwards.

    Errors inside the tracer are logged once; they may lose spans, but never fail the prediction.

    :param request_id: id of the request, as in the prediction log
    :param model_version: version of the model that answers; set on every span
    :raises TracingUnavailable: when OpenTelemetry is not installed
    """

    __slots__ = ("_request", "model_version", "request_id")

    def __init__(self, request_id: str, model_version: str) -> None:
        _require_opentelemetry()
        self.request_id = request_id
        self.model_version = model_version
        self._request: RequestSpans | None = None

    @property
    def trace_id(self) -> str:
        """The trace id, 32 hex digits, available during and after the request; empty before it."""
        return "" if self._request is None else self._request.trace_id

    @property
    def span_id(self) -> str:
        """The id of the request's span, 16 hex digits, available during and after the request; empty before it."""
        return "" if self._request is None else self._request.span_id

    @property
    def exported(self) -> bool:
        """Whether the trace is exported: it is sampled, or a rule kept it when the request ended."""
        return self._request is not None and self._request.exported

    def headers(self) -> dict[str, str]:
        """Return the current W3C trace context as headers, for requests to other services."""
        carrier: dict[str, str] = {}
        try:
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            TraceContextTextMapPropagator().inject(carrier)
        except Exception as error:
            log_failure("headers", error)
        return carrier

    def fail(self, reason: str) -> None:
        """Mark the request as failed if no exception does (a fallback answered, the status is 503).

        :param reason: the reason, as text
        """
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
    ) -> SpanScope: ...

    def trace_request(self, headers: Any = None, attributes: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Trace the whole request.

        :param headers: headers of the incoming request; a W3C ``traceparent`` in them is joined
        :param attributes: further attributes of the span, for names that are not Python identifiers
        :param more: further attributes of the span
        """
        if callable(headers):
            return SpanScope(self, REQUEST, {}, is_request=True)(headers)
        return SpanScope(self, REQUEST, _merge_attributes(attributes, more), is_request=True, headers=headers)

    def span_feature_fetch(self, entity_ids: Any, feature_count: int) -> SpanScope:
        """Trace a feature fetch.

        :param entity_ids: the entities looked up, or how many; only their number is kept
        :param feature_count: features per entity
        """
        return SpanScope(self, FEATURE_FETCH, {"entity_count": _count_entities(entity_ids), "feature_count": feature_count})

    def span_cache_lookup(self, hit: bool | None = None) -> SpanScope:
        """Trace a cache lookup: ``with tracer.span_cache_lookup() as span: span.set_attribute("cache.hit", ...)``.

        :param hit: whether the entry was found, if already known
        """
        return SpanScope(self, CACHE_LOOKUP, {} if hit is None else {"cache.hit": _to_bool(hit)})

    def span_model_inference(self, batch_size: int = 1) -> SpanScope:
        """Trace the model inference.

        :param batch_size: number of rows in the batch
        """
        return SpanScope(self, MODEL_INFERENCE, {"batch_size": batch_size})

    def span_post_process(self, **attributes: Any) -> SpanScope:
        """Trace the post-processing of a prediction.

        :param attributes: attributes of the span
        """
        return SpanScope(self, POST_PROCESS, attributes)

    def span(self, name: str, attributes: Mapping[str, Any] | None = None, **more: Any) -> SpanScope:
        """Trace any other part of the request.

        :param name: name of the span
        :param attributes: attributes of the span, for names that are not Python identifiers
        :param more: further attributes of the span
        """
        return SpanScope(self, name, _merge_attributes(attributes, more))


class SpanScope:
    """A span as a context manager, an asynchronous context manager, and a decorator."""

    __slots__ = ("_attributes", "_headers", "_is_request", "_name", "_open", "_request", "_tracer")

    def __init__(
        self,
        tracer: MLRequestTracer,
        name: str,
        attributes: dict[str, Any],
        *,
        is_request: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        attributes["model_version"] = tracer.model_version
        if is_request:
            attributes.setdefault("request_id", tracer.request_id)
        self._tracer, self._name, self._attributes = tracer, name, attributes
        self._is_request, self._headers = is_request, headers
        self._open: Any = None
        self._request: RequestSpans | None = None

    def __enter__(self) -> Any:
        try:
            from airflow_slo_provider.tracing.recording import request_spans as recording

            request = self._tracer._request
            if self._is_request:
                self._tracer._request = request = recording.RequestSpans(self._name, self._attributes, self._headers)
            self._request = request = request or recording.SpansOutsideRequest()
            self._open = request.enter(self._name, self._attributes, is_request=self._is_request)
            return self._open[0]
        except Exception as error:
            log_failure(self._name, error)
            return NO_OP_SPAN

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        opened, self._open = self._open, None
        if opened is None or self._request is None:
            return
        try:
            self._request.leave(opened, error, is_request=self._is_request)
        except Exception as problem:
            log_failure(self._name, problem)

    async def __aenter__(self) -> Any:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: _Function) -> _Function:
        """Decorate a function; each call is traced in its own span."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def traced(*args: Any, **kwargs: Any) -> Any:
                with self._copy():
                    return await function(*args, **kwargs)

        else:

            @wraps(function)
            def traced(*args: Any, **kwargs: Any) -> Any:
                with self._copy():
                    return function(*args, **kwargs)

        return traced  # type: ignore[return-value]

    def _copy(self) -> SpanScope:
        return SpanScope(self._tracer, self._name, dict(self._attributes), is_request=self._is_request, headers=self._headers)


class _NoOpSpan:
    """A no-op replacement for a span that could not be created."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None

    def is_recording(self) -> bool:
        """Return False: nothing is recorded."""
        return False


NO_OP_SPAN = _NoOpSpan()
_opentelemetry_found = False


def _require_opentelemetry() -> None:
    global _opentelemetry_found
    if not _opentelemetry_found:
        try:
            import opentelemetry.trace  # noqa: F401
        except ImportError as error:
            raise TracingUnavailable(
                "MLRequestTracer needs OpenTelemetry: pip install 'airflow-slo-provider[tracing]', "
                "or opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
            ) from error
        _opentelemetry_found = True


def _count_entities(entities: Any) -> int:
    if isinstance(entities, int):
        return entities
    try:
        return len(entities)
    except Exception:  # a generator, None, or an object whose length cannot be computed
        return 1


def _to_bool(value: Any) -> bool:
    try:
        return bool(value)
    except Exception:  # the truth value of an array is ambiguous
        return False


def _merge_attributes(attributes: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Merge two sets of attributes; log and ignore one that is not a mapping."""
    if attributes is None:
        return more
    try:
        return {**attributes, **more}
    except Exception as error:
        log_failure("attributes", error)
        return more
