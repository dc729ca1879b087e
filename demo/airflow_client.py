"""Calls of Airflow's REST API v2 for the demo and the tests. Standard library only."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

FINISHED = ("success", "failed")


class AirflowAPIError(Exception):
    """The API server responded with an error; ``status`` is the HTTP status, 0 without a response."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AirflowClient:
    """One user of one API server.

    :param base_url: e.g. ``http://127.0.0.1:8080``
    """

    def __init__(self, base_url: str, username: str, password: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._credentials = {"username": username, "password": password}
        self._token: str | None = None

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, login: bool = True, timeout: float = 30
    ) -> Any:
        """Send one request and return the decoded JSON response.

        :param path: path with query, e.g. ``/api/v2/dags``
        :raises AirflowAPIError: for an HTTP error, or if the server does not respond
        """
        if login and self._token is None:
            self._token = self.call("POST", "/auth/token", self._credentials, login=False)["access_token"]
        request = urllib.request.Request(self.base_url + path, method=method)
        request.add_header("Accept", "application/json")
        if login:
            request.add_header("Authorization", f"Bearer {self._token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with _opener.open(request, timeout=timeout) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace")[:1000]
            raise AirflowAPIError(f"{method} {path}: HTTP {error.code}: {words}", error.code) from error
        except (OSError, TimeoutError) as error:
            raise AirflowAPIError(f"{method} {path}: {error}", 0) from error
        return json.loads(text) if text else None

    def health(self) -> dict[str, str]:
        """Return the status of each component, e.g. ``{"scheduler": "healthy"}``; empty while the server does not respond."""
        try:
            answer = self.call("GET", "/api/v2/monitor/health", login=False, timeout=5)
        except AirflowAPIError:
            return {}
        return {name: str((part or {}).get("status")) for name, part in answer.items()}

    def wait_for_dag(self, dag_id: str, *, timeout: float = 180) -> None:
        """Wait until the DAG processor has read a DAG.

        :raises AirflowAPIError: if it does not appear; with the import errors
        """

        def present() -> bool:
            try:
                self.call("GET", f"/api/v2/dags/{_quote(dag_id)}")
            except AirflowAPIError as error:
                if error.status != 404:
                    raise
                return False
            return True

        if not _until(present, timeout, 0.5):
            raise AirflowAPIError(
                f"DAG {dag_id} did not appear within {timeout:.0f} s; import errors: {self.import_errors()}", 404
            )

    def import_errors(self) -> list[dict[str, Any]]:
        """Return the import errors of the DAG processor."""
        return list(self.call("GET", "/api/v2/importErrors")["import_errors"])

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG."""
        self.call("PATCH", f"/api/v2/dags/{_quote(dag_id)}", {"is_paused": False})

    def trigger(
        self, dag_id: str, *, conf: Mapping[str, Any] | None = None, run_id: str | None = None, logical_date: str | None = None
    ) -> str:
        """Start a run and return its id.

        :param logical_date: ISO 8601 with a time zone; None for a run without one, as the UI and asset events create them
        """
        body: dict[str, Any] = {"conf": dict(conf or {}), "logical_date": logical_date}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.call("POST", f"/api/v2/dags/{_quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run, e.g. ``running``."""
        return str(self.call("GET", _run(dag_id, run_id))["state"])

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float = 300, states: tuple[str, ...] = FINISHED) -> str:
        """Wait until a run has one of ``states`` and return it.

        :raises TimeoutError: after ``timeout`` seconds; with the states of its tasks
        """
        if not _until(lambda: self.run_state(dag_id, run_id) in states, timeout, 0.5):
            raise TimeoutError(f"run {run_id} of {dag_id} did not end within {timeout:.0f} s: {self.task_states(dag_id, run_id)}")
        return self.run_state(dag_id, run_id)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, as the API describes them."""
        return list(self.call("GET", _run(dag_id, run_id) + "/taskInstances?limit=1000")["task_instances"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task of a run; None before it is scheduled. Mapped tasks are named ``task[0]``, ..."""
        return {
            one["task_id"] if one["map_index"] < 0 else f"{one['task_id']}[{one['map_index']}]": one["state"]
            for one in self.task_instances(dag_id, run_id)
        }

    def wait_for_task(self, dag_id: str, run_id: str, task_id: str, *, states: tuple[str, ...], timeout: float = 300) -> str:
        """Wait until a task has one of ``states``, e.g. ``("deferred",)``, and return it.

        :raises TimeoutError: after ``timeout`` seconds; with the states of all tasks
        """
        if not _until(lambda: self.task_states(dag_id, run_id).get(task_id) in states, timeout, 0.5):
            raise TimeoutError(
                f"{dag_id}.{task_id} is not {' or '.join(states)} after {timeout:.0f} s: {self.task_states(dag_id, run_id)}"
            )
        return str(self.task_states(dag_id, run_id)[task_id])

    def log(self, dag_id: str, run_id: str, task_id: str, *, attempt: int | None = None, map_index: int = -1) -> str:
        """Return a task's log as text, one line per event, with the error of an event if it has one.

        :param attempt: number of the try, from 1; None for the last one
        """
        if attempt is None:
            mapped = f"/{map_index}" if map_index >= 0 else ""
            one = self.call("GET", f"{_run(dag_id, run_id)}/taskInstances/{_quote(task_id)}{mapped}")
            attempt = max(int(one["try_number"]), 1)
        path = f"{_run(dag_id, run_id)}/taskInstances/{_quote(task_id)}/logs/{attempt}?full_content=true&map_index={map_index}"
        content = self.call("GET", path)["content"]
        if isinstance(content, str):
            return content
        lines = []
        for line in content:
            if isinstance(line, str):
                lines.append(line)
                continue
            lines.append(str(line.get("event", "")))
            lines += [f"{one.get('exc_type')}: {one.get('exc_value')}" for one in line.get("error_detail") or ()]
        return "\n".join(lines)

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        """Return an XCom of a task; None if there is none."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{_quote(task_id)}/xcomEntries/{_quote(key)}?map_index={map_index}"
        try:
            value = self.call("GET", path)["value"]
        except AirflowAPIError as error:
            if error.status == 404:
                return None
            raise
        return value

    def add_connection(self, conn_id: str, conn_type: str, **fields: Any) -> None:
        """Store a connection; ``fields`` as the API names them: host, port, login, password, schema, extra (JSON text)."""
        self.call("POST", "/api/v2/connections", {"connection_id": conn_id, "conn_type": conn_type, **fields})

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks of a run, so that they run again."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": list(task_ids), "only_failed": False, "reset_dag_runs": True}
        self.call("POST", f"/api/v2/dags/{_quote(dag_id)}/clearTaskInstances", body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Set the state of a task instance, as "Mark as success" in the UI does."""
        self.call("PATCH", f"{_run(dag_id, run_id)}/taskInstances/{_quote(task_id)}", {"new_state": state})


# Without the machine's proxy settings: the server is on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _run(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}"


def _until(happened: Callable[[], bool], timeout: float, pause: float) -> bool:
    deadline = time.monotonic() + timeout
    while not happened():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True
