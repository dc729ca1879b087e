"""Run an operator in Airflow's own task runner: without database and API server, otherwise as on a worker.

Requests to the supervisor are answered with values of the test (connections, XComs, answers by message), and messages
to it are recorded: XComs, skipped tasks, a deferral, a retry.

>>> ran = run_task(operator, connections={"prometheus_default": {"conn_type": "prometheus", "host": url}})
>>> ran.state, ran.xcoms["decision"], ran.skipped, ran.log
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import structlog
from airflow.sdk import DAG, BaseOperator
from airflow.sdk._shared.logging.structlog import AirflowBoundLoggerFilteringAtInfo
from airflow.sdk.api.datamodels._generated import DagRun, DagRunState, TIRunContext
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import comms, task_runner
from structlog.testing import LogCapture

#: Answers of the supervisor by class of the message: a value, or a function of the message.
Answers = Mapping[type, Any]


class Supervisor:
    """Replaces the worker's supervisor: answers requests and records messages.

    :param connections: Airflow connections by id, as fields: ``{"conn_type": "sqlite", "host": path}``
    :param variables: Airflow variables
    :param xcoms: XComs of other tasks by ``(task_id, key)``; of mapped ones by ``(task_id, key, map_index)``
    :param answers: answers to other messages, by the message's class
    """

    def __init__(
        self,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        variables: Mapping[str, str] | None = None,
        xcoms: Mapping[tuple[Any, ...], Any] | None = None,
        answers: Answers | None = None,
    ) -> None:
        self.messages: list[Any] = []
        self._connections = dict(connections or {})
        self._variables = dict(variables or {})
        self._xcoms = dict(xcoms or {})
        self._answers = dict(answers or {})

    def send(self, msg: Any) -> Any:
        """Return the answer to a message, as ``CommsDecoder.send`` does."""
        self.messages.append(msg)
        if type(msg) in self._answers:
            answer = self._answers[type(msg)]
            return answer(msg) if callable(answer) else answer
        if isinstance(msg, comms.GetConnection):
            fields = self._connections.get(msg.conn_id)
            if fields is None:
                return comms.ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)
            values = {**dict.fromkeys(("host", "schema", "login", "password", "port", "extra")), **fields}
            if isinstance(values["extra"], Mapping):
                values["extra"] = json.dumps(values["extra"])
            return comms.ConnectionResult(conn_id=msg.conn_id, **values)
        if isinstance(msg, comms.GetVariable):
            if msg.key not in self._variables:
                return comms.ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
            return comms.VariableResult(key=msg.key, value=self._variables[msg.key])
        if isinstance(msg, comms.GetXCom):
            one = (msg.task_id, msg.key) if msg.map_index in (None, -1) else (msg.task_id, msg.key, msg.map_index)
            return comms.XComResult(key=msg.key, value=self._xcoms.get(one))
        if isinstance(msg, comms.GetXComSequenceSlice):
            found = [value for one, value in self._xcoms.items() if one[:2] == (msg.task_id, msg.key) and value is not None]
            return comms.XComSequenceSliceResult(root=found)
        if isinstance(msg, comms.GetTICount):
            return comms.TICount(count=1)
        if isinstance(msg, comms.ValidateInletsAndOutlets):
            return comms.InactiveAssetsResult(inactive_assets=[])
        return None

    async def asend(self, msg: Any) -> Any:
        """Do the same for code in an event loop."""
        return self.send(msg)


@dataclass(frozen=True)
class Ran:
    """The result of a task.

    :param state: e.g. ``success``, ``failed``, ``up_for_retry``, ``deferred``, ``up_for_reschedule``, ``skipped``
    :param error: the exception that it raised, if any
    :param messages: all messages to its supervisor, in order
    :param log: its log, one line per event
    :param task: the operator after the run, as listeners receive it
    """

    state: str
    error: BaseException | None
    messages: list[Any]
    log: str
    entries: list[Any] = field(repr=False)
    task: BaseOperator = field(repr=False)

    @property
    def xcoms(self) -> dict[str, Any]:
        """Return its XComs by key."""
        return {msg.key: msg.value for msg in self.messages if isinstance(msg, comms.SetXCom)}

    @property
    def skipped(self) -> set[str]:
        """Return the ids of the tasks that it skipped."""
        tasks = [one for msg in self.messages if isinstance(msg, comms.SkipDownstreamTasks) for one in msg.tasks]
        return {one if isinstance(one, str) else one[0] for one in tasks}

    @property
    def deferral(self) -> comms.DeferTask | None:
        """Return its deferral."""
        return next((msg for msg in self.messages if isinstance(msg, comms.DeferTask)), None)

    def position(self, wanted: Callable[[Any], bool]) -> int:
        """Return the index of the first wanted message in :attr:`messages`.

        :raises StopIteration: if there is none
        """
        return next(number for number, msg in enumerate(self.messages) if wanted(msg))


def in_dag(operator: BaseOperator, downstream: Iterable[str] = (), *, dag_id: str = "a_dag") -> BaseOperator:
    """Add an operator to a DAG, with an empty downstream task for each name.

    :param operator: created outside of a DAG
    """
    from airflow.providers.standard.operators.empty import EmptyOperator

    dag = DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))
    dag.add_task(operator)
    for name in downstream:
        operator >> EmptyOperator(task_id=name, dag=dag)
    return operator


def instance_id(*of: Any, made: int) -> UUID:
    """Return Airflow's id of a try: unique, the same for each check and after a deferral, and greater for later tries."""
    moment = 1_700_000_000_000 + made * 1_000_000 + int(of[-1])
    number = int.from_bytes(sha256(repr(of).encode()).digest()[:8])
    return UUID(int=moment << 80 | 7 << 76 | 2 << 62 | number >> 2)


def run_task(
    operator: BaseOperator,
    *,
    run_id: str = "a_run",
    run_type: str = "manual",
    try_number: int = 1,
    max_tries: int | None = None,
    map_index: int = -1,
    logical_date: datetime | None = None,
    data_interval: tuple[datetime, datetime] | None = None,
    start_date: datetime | None = None,
    conf: Mapping[str, Any] | None = None,
    next_method: str | None = None,
    next_kwargs: Mapping[str, Any] | None = None,
    task_reschedule_count: int = 0,
    connections: Mapping[str, Mapping[str, Any]] | None = None,
    variables: Mapping[str, str] | None = None,
    xcoms: Mapping[tuple[Any, ...], Any] | None = None,
    answers: Answers | None = None,
    partition: tuple[str, datetime | None] | None = None,
    run_after: datetime | None = None,
    run_started: datetime | None = None,
    run_made: int = 0,
) -> Ran:
    """Run one try of a task.

    :param operator: the task; added to a new DAG if it has none
    :param run_type: ``manual``, ``scheduled``, ``backfill``, ``asset_triggered``
    :param try_number: number of the try, from 1
    :param max_tries: allowed retries; the operator's ``retries`` by default
    :param data_interval: start and end; with it, ``logical_date`` is its start by default
    :param start_date: start of this try, which a deferral keeps; now by default
    :param next_method: with ``next_kwargs``: resume a deferred task
    :param partition: key and date of a partitioned run, which has no data interval; Airflow 3.2 has no date
    :param run_after: due time of the run; by default the end of its interval, or now
    :param run_started: when the scheduler started the run; now by default
    :param run_made: how often a run of that id was deleted before; Airflow counts the tries of the new one from 1
    :param connections: see :class:`Supervisor`; a connection in the environment (``AIRFLOW_CONN_...``) works too
    """
    task = operator if operator.has_dag() else in_dag(operator)
    start, end = data_interval or (logical_date, logical_date)
    now = datetime.now(UTC)
    tries = task.retries if max_tries is None else max_tries
    dag_run = DagRun(
        dag_id=task.dag_id,
        run_id=run_id,
        logical_date=logical_date or start,
        data_interval_start=start,
        data_interval_end=end,
        run_after=run_after or end or now,
        start_date=run_started or now,
        end_date=None,
        run_type=run_type,
        state=DagRunState.RUNNING,
        conf=dict(conf or {}),
        consumed_asset_events=[],
        partition_key=partition[0] if partition else None,
        **({"partition_date": partition[1]} if partition and partition[1] else {}),
    )
    instance = task_runner.RuntimeTaskInstance.model_construct(
        id=instance_id(task.dag_id, run_id, task.task_id, map_index, try_number, made=run_made),
        task_id=task.task_id,
        dag_id=task.dag_id,
        run_id=run_id,
        try_number=try_number,
        dag_version_id=uuid4(),
        map_index=map_index,
        task=task,
        bundle_instance=None,
        max_tries=tries,
        start_date=start_date or now,
        state="running",
        _ti_context_from_server=TIRunContext(
            dag_run=dag_run,
            task_reschedule_count=task_reschedule_count,
            max_tries=tries,
            should_retry=tries != 0 and try_number <= tries,
            next_method=next_method,
            next_kwargs=None if next_kwargs is None else dict(next_kwargs),
        ),
    )
    supervisor = Supervisor(connections, variables, xcoms, answers)
    with _supervised_by(supervisor), _logged() as entries:
        state, _, error = task_runner.run(instance, instance.get_template_context(), structlog.get_logger("task"))
    lines = [str(entry.get("event", "")) for entry in entries]
    return Ran(state.value, error, supervisor.messages, "\n".join(lines), entries, instance.task)


def resume(operator: BaseOperator, deferral: comms.DeferTask, event: Any = None, **arguments: Any) -> Ran:
    """Run the method after a deferral, after its trigger has fired with ``event``."""
    from airflow.sdk.serde import deserialize

    kwargs = {**deserialize(deferral.next_kwargs or {}), "event": event}
    return run_task(operator, next_method=deferral.next_method, next_kwargs=_serialized(kwargs), **arguments)


def _serialized(kwargs: Mapping[str, Any]) -> Any:
    from airflow.sdk.serde import serialize

    return serialize(dict(kwargs))


@contextmanager
def _logged() -> Iterator[list[Any]]:
    """Collect log messages of INFO and above, whatever the log level of the tests."""
    before, capture = structlog.get_config(), LogCapture()
    structlog.configure(
        processors=[capture],
        wrapper_class=AirflowBoundLoggerFilteringAtInfo,
        cache_logger_on_first_use=False,
    )
    try:
        yield capture.entries
    finally:
        structlog.configure(**before)


@contextmanager
def _supervised_by(supervisor: Supervisor) -> Iterator[None]:
    """Install a supervisor for the task runner; afterwards, undo the changes of a run in this process."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with mock.patch.object(task_runner, "SUPERVISOR_COMMS", supervisor, create=True), mock.patch.dict("os.environ"):
            yield
    finally:
        signal.signal(signal.SIGTERM, handler)
