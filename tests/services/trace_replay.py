"""Answers of a real Tempo and of a real classic-Jaeger store, given again over a real socket, with the limits those stores have.

Recorded bodies are cut and filtered as the request's own parameters say (``limit``, ``spss``, time, service, tags); what a newer
or an older release does differently can be switched on. Where a release answers parents or whole traces, they come from
``otlp.json``, which is what was sent to the stores that were recorded.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support import acceptance


def recorded(name: str) -> Any:
    return json.loads(acceptance("traces", f"{name}.json").read_text())


def truth() -> dict[str, Any]:
    return recorded("truth")


def truth_by_trace() -> dict[str, dict[str, int]]:
    """Each trace's durations in nanoseconds by span name."""
    parts = ("feature_fetch", "cache_lookup", "model_inference", "post_process")
    return {
        one["trace_id"]: {"ml_prediction_request": one["total_ns"], **{name: one[f"{name}_ns"] for name in parts}}
        for one in truth()["requests"]
    }


def hex_id(text: str) -> str:
    return base64.b64decode(text).hex()


class Replay:
    """A store that answers from recordings and keeps the requests it received."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.fail: list[tuple[int, str]] = []  # statuses to answer first
        self.url = ""
        self._home = acceptance("traces")  # looked up here: a test cannot be skipped from a thread that answers

    def _recorded(self, name: str) -> Any:
        return json.loads((self._home / f"{name}.json").read_text())

    def answer(self, path: str, params: dict[str, str]) -> tuple[int, Any]:
        raise NotImplementedError


class TempoReplay(Replay):
    """Tempo.

    :param parents: whether this release knows ``span:parentID``
    :param by_id: whether whole traces are answered
    :param source: the recording that searches are answered from
    :param most_spans: ``max_spans_per_span_set``
    """

    def __init__(
        self, *, parents: bool = True, by_id: bool = True, source: str = "tempo-search-all", most_spans: int = 100
    ) -> None:
        super().__init__()
        self.parents, self.by_id, self.most_spans = parents, by_id, most_spans
        self.jobs: tuple[int, int] = (1, 1)
        self._traces = self._recorded(source)["body"]["traces"]
        self._sent = self._recorded("otlp")
        self._above = {
            hex_id(span["spanId"]): hex_id(span["parentSpanId"]) if span.get("parentSpanId") else None for span in self._spans()
        }

    def _spans(self) -> Iterator[dict[str, Any]]:
        for resource in self._sent["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                yield from scope["spans"]

    def answer(self, path: str, params: dict[str, str]) -> tuple[int, Any]:
        if path == "/api/search":
            return self._search(params)
        if path.startswith("/api/v2/traces/"):
            return self._trace(path.rpartition("/")[2])
        return 404, "404 page not found"

    def _search(self, params: dict[str, str]) -> tuple[int, Any]:
        query = params.get("q", "")
        if query.count("{") != query.count("}") or (not self.parents and "span:parentID" in query):
            bad = self._recorded("tempo-search-bad-query")
            return bad["status"], bad["body"]
        if int(params.get("spss", 3)) > self.most_spans:
            return 400, f"invalid spss: max spans per span set is {self.most_spans}"
        if query != "{}" and '"model-server"' not in query:
            return 200, self._recorded("tempo-search-none")["body"]
        low, high = int(params["start"]) * 10**9, int(params["end"]) * 10**9
        chosen = []
        for trace in self._traces:
            begun = int(trace["startTimeUnixNano"])
            if begun < high and begun + (trace["durationMs"] + 1) * 10**6 > low:
                chosen.append(self._cut(trace, int(params.get("spss", 3)), "span:parentID" in query))
        metrics = {"completedJobs": self.jobs[0], "totalJobs": self.jobs[1]}
        return 200, {"traces": chosen[: int(params.get("limit", 20))], "metrics": metrics}

    def _cut(self, trace: dict[str, Any], most: int, parents: bool) -> dict[str, Any]:
        spans = []
        for span in trace["spanSet"]["spans"][:most]:
            above = self._above[span["spanID"]]
            converted = [{"key": "span:parentID", "value": {"stringValue": above}}] if parents and above else []
            spans.append({**span, "attributes": [*span["attributes"], *converted]})
        cut = {"spans": spans, "matched": trace["spanSet"]["matched"]}
        return {**trace, "spanSet": cut, "spanSets": [cut]}

    def _trace(self, identity: str) -> tuple[int, Any]:
        if set(identity) - set("0123456789abcdef"):
            bad = self._recorded("tempo-trace-bad-id")
            return bad["status"], bad["body"]
        known = self._recorded("tempo-trace-by-id")
        if self.by_id and known["request"]["path"].endswith(identity):
            return 200, known["body"]
        spans = [span for span in self._spans() if hex_id(span["traceId"]) == identity] if self.by_id else []
        if not spans:
            return 200, self._recorded("tempo-trace-unknown")["body"]
        resource = self._sent["resourceSpans"][0]["resource"]
        return 200, {"trace": {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}, "metrics": {}}


class JaegerReplay(Replay):
    """A store that speaks Jaeger's query API.

    :param classic: whether the classic API is served (below ``/select/jaeger``, as VictoriaTraces does)
    :param v3: whether version 3 is
    :param chunks: whether version 3 streams its answer, one document a line
    """

    def __init__(self, *, classic: bool = True, v3: bool = False, chunks: bool = False) -> None:
        super().__init__()
        self.chunks = chunks
        self._classic = self._recorded("jaeger-classic-search-all")["body"]["data"] if classic else None
        self._sent = self._recorded("otlp") if v3 else None

    def answer(self, path: str, params: dict[str, str]) -> tuple[int, Any]:
        if self._classic is not None and path == "/select/jaeger/api/traces":
            return self._search(params, self._classic)
        if self._classic is not None and path == "/select/jaeger/api/services":
            return 200, self._recorded("jaeger-classic-services")["body"]
        if self._sent is not None and path.startswith("/api/v3/traces"):
            return self._search_v3(path.removeprefix("/api/v3/traces").strip("/"), params, self._sent)
        return 404, "unsupported path requested"

    def _search(self, params: dict[str, str], traces: list[dict[str, Any]]) -> tuple[int, Any]:
        if not params.get("service"):
            bad = self._recorded("jaeger-classic-no-service")
            return bad["status"], bad["body"]
        if params["service"] != "model-server":
            return 200, self._recorded("jaeger-classic-none")["body"]
        if json.loads(params.get("tags", "{}")):
            traces = self._recorded("jaeger-classic-search-tags")["body"]["data"]
        low, high = int(params["start"]), int(params["end"])
        chosen = [one for one in traces if low <= min(span["startTime"] for span in one["spans"]) <= high]
        return 200, {
            "data": chosen[: int(params.get("limit", 20))],
            "errors": None,
            "limit": 0,
            "offset": 0,
            "total": len(chosen),
        }

    def _search_v3(self, identity: str, params: dict[str, str], sent: dict[str, Any]) -> tuple[int, Any]:
        """Version 3 as Jaeger 2 answers it: ids in hex, enums as numbers, 404 for nothing."""
        nothing = (404, {"error": {"httpCode": 404, "message": "No traces found"}})
        (resource,) = sent["resourceSpans"]
        traces: dict[str, list[dict[str, Any]]] = {}
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                converted = {**span, "traceId": hex_id(span["traceId"]), "spanId": hex_id(span["spanId"]), "kind": 1}
                if span.get("parentSpanId"):
                    converted["parentSpanId"] = hex_id(span["parentSpanId"])
                if span["status"]:
                    converted["status"] = {"code": 2, "message": span["status"].get("message", "")}
                traces.setdefault(converted["traceId"], []).append(converted)
        if identity:
            chosen = [traces[identity]] if identity in traces else []
        else:
            if not (params.get("query.start_time_min") and params.get("query.start_time_max")):
                return 400, {"error": {"httpCode": 400, "message": "start_time_min and start_time_max are required"}}
            chosen = list(traces.values()) if params.get("query.service_name") == "model-server" else []
            chosen = chosen[: int(params.get("query.search_depth", 100))]
        if not chosen:
            return nothing
        spans = [{"resource": resource["resource"], "scopeSpans": [{"scope": {}, "spans": one}]} for one in chosen]
        if self.chunks:
            return 200, "\n".join(json.dumps({"result": {"resourceSpans": [one]}}) for one in spans)
        return 200, {"result": {"resourceSpans": spans}}


@contextmanager
def serving(replay: Replay, *, prefix: str = "") -> Iterator[Replay]:
    """Serve a store on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            params = {name: values[0] for name, values in parse_qs(parts.query).items()}
            replay.requests.append((parts.path, params))
            status, body = replay.fail.pop(0) if replay.fail else replay.answer(parts.path, params)
            raw = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    replay.url = f"http://127.0.0.1:{server.server_address[1]}{prefix}"
    try:
        yield replay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
