"""Tells people of an incident: how bad it is, what burns, since when, what to do, and where it is being done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier, conf

if TYPE_CHECKING:
    from airflow.sdk import Context


#: Reasons that Airflow gives to a DAG's callbacks when nothing has gone wrong. Every other is a failure.
_FINE = frozenset({"success", "started"})


class IncidentNotifier(BaseNotifier):
    """Tells of an incident, through any Airflow notifier, an Alertmanager, or a webhook - or several of these.

    Usable as a callback of a DAG or a task, in ``notifiers=`` of the incident's task group, and in a ``DeadlineAlert``
    (``AsyncCallback(IncidentNotifier, kwargs={...})``). What it tells is the run's incident; in a run without one that can
    be read, the task that failed, the run that failed (as the callback of a DAG, with Airflow's reason) or the deadline that was
    missed.

    - ``notifier`` gets the context with ``incident_text``, ``incident_title`` and ``incident`` in it, for its own templates:
      ``SlackNotifier(text="{{ incident_text }}")``. For a ``DeadlineAlert``, whose arguments must be plain, give its dotted name
      and ``notifier_arguments``.
    - ``alertmanager_conn_id`` posts an alert ``SLOIncident`` with the labels ``slo``, ``severity`` and ``incident``.
    - ``webhook_conn_id`` posts JSON: ``title``, ``text``, ``severity``, ``slo``, ``since``, ``playbook``, ``playbook_url``,
      ``run_url``, ``incident``.

    Connections are as those of Prometheus: host is the URL; login and password, or ``token`` in the extra. When one way fails the
    others are still tried, and the failure is raised at the end.

    :param notifier: a notifier, or the dotted name of one
    :param notifier_arguments: arguments of the notifier, where it is named; what it renders itself is templated
    :param alertmanager_conn_id: connection of an Alertmanager. (templated)
    :param webhook_conn_id: connection of a webhook. (templated)
    :param playbook_url: where the playbook can be read. (templated)
    :param text: further text. (templated)
    :raises ValueError: when it would tell nobody
    """

    # Not notifier_arguments: the notifier renders its own. Rendered here too, a template in an alert's label would run there.
    template_fields: Sequence[str] = ("alertmanager_conn_id", "webhook_conn_id", "playbook_url", "text")

    def __init__(
        self,
        *,
        notifier: BaseNotifier | str | None = None,
        notifier_arguments: Mapping[str, Any] | None = None,
        alertmanager_conn_id: str | None = None,
        webhook_conn_id: str | None = None,
        playbook_url: str | None = None,
        text: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if notifier is None and not alertmanager_conn_id and not webhook_conn_id:
            raise ValueError("IncidentNotifier tells nobody: give notifier, alertmanager_conn_id or webhook_conn_id")
        if notifier_arguments is not None and not isinstance(notifier, str):
            raise ValueError("notifier_arguments belongs to a notifier that is given by its dotted name")
        self.notifier = notifier
        self.notifier_arguments = dict(notifier_arguments) if notifier_arguments is not None else None
        self.alertmanager_conn_id = alertmanager_conn_id
        self.webhook_conn_id = webhook_conn_id
        self.playbook_url = playbook_url
        self.text = text

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render; the incident's own texts are there for templates."""
        # Not in Airflow's own context, which the next callback of the same try gets too: it would tell this story again.
        super().render_template_fields({**self._told(context), **context}, jinja_env)

    def notify(self, context: Context) -> None:
        """Tell, and wait until it is told."""
        from airflow.sdk import BaseHook

        from airflow_slo_provider.runtime.connections.webhook import post

        message = self.message(context)
        ways = [lambda: self._made().__call__({**context, **self._told(context)})] if self.notifier is not None else []
        for conn_id, path, body in self._posts(message):
            ways.append(lambda conn_id=conn_id, path=path, body=body: post(BaseHook.get_connection(conn_id), path, body))
        failures = []
        for way in ways:
            try:
                way()
            except Exception as error:
                failures.append(error)
        self._raise(failures)

    async def async_notify(self, context: Context) -> None:
        """Tell, without blocking the event loop."""
        from airflow.sdk import BaseHook

        from airflow_slo_provider.runtime.connections.webhook import apost

        failures = []
        message = self.message(context)
        if self.notifier is not None:
            try:
                await self._through_notifier({**context, **self._told(context)})
            except Exception as error:
                failures.append(error)
        for conn_id, path, body in self._posts(message):
            try:
                await apost(await BaseHook.aget_connection(conn_id), path, body)
            except Exception as error:
                failures.append(error)
        self._raise(failures)

    def message(self, context: Any) -> dict[str, Any]:
        """Return what is told, as a JSON-able dict."""
        from airflow_slo_provider.runtime.secret_masks import masked

        incident, choice = _incident(context), context.get("choice") or {}
        # It may be any exception's, which may quote an address with its password. Masked here, whatever the incident came from.
        incident["message"] = masked(str(incident.get("message") or ""))
        severity = str(choice.get("severity") or incident.get("severity") or "unknown")
        subject = str(incident.get("subject") or incident.get("id"))
        title = f"[{severity}] {subject}: {_headline(incident)}"
        lines = [title, incident["message"], f"since {_since(incident)}"]
        rates = (incident.get("evidence") or {}).get("burn_rates")
        if isinstance(rates, Mapping) and rates:
            lines.append("burn rates: " + ", ".join(f"{name}: {value}" for name, value in rates.items() if value is not None))
        url = run_url(context)
        lines += [f"playbook: {choice['title']}"] if choice.get("title") else []
        lines += [f"playbook: {self.playbook_url}"] if self.playbook_url else []
        lines += [f"run: {url}"] if url else []
        lines += [str(self.text)] if self.text else []
        return {
            "title": title,
            "text": "\n".join(line for line in lines if line),
            "severity": severity,
            "slo": (incident.get("evidence") or {}).get("slo") or subject,
            "since": _since(incident),
            "playbook": choice.get("title"),
            "playbook_url": self.playbook_url,
            "run_url": url,
            "incident": incident,
        }

    def _told(self, context: Any) -> dict[str, Any]:
        message = self.message(context)
        return {"incident_title": message["title"], "incident_text": message["text"], "incident": message["incident"]}

    def _posts(self, message: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
        found: list[tuple[str, str, Any]] = []
        if self.webhook_conn_id:
            found.append((self.webhook_conn_id, "", dict(message)))
        if self.alertmanager_conn_id:
            labels = {
                "alertname": "SLOIncident",
                "slo": str(message["slo"]),
                "severity": str(message["severity"]),
                "incident": str(message["incident"].get("id", "")),
            }
            annotations = {"summary": message["title"], "description": message["text"]}
            annotations |= {"runbook_url": self.playbook_url} if self.playbook_url else {}
            alert = {
                "labels": {key: value for key, value in labels.items() if value},
                "annotations": annotations,
                "startsAt": message["since"],
            }
            if message["run_url"]:
                alert["generatorURL"] = message["run_url"]
            found.append((self.alertmanager_conn_id, "/api/v2/alerts", [alert]))
        return found

    def _made(self) -> Any:
        if not isinstance(self.notifier, str):
            return self.notifier
        from importlib import import_module

        module, _, name = self.notifier.rpartition(".")
        return getattr(import_module(module), name)(**(self.notifier_arguments or {}))

    async def _through_notifier(self, context: Any) -> None:
        inner = self._made()
        if type(inner).async_notify is BaseNotifier.async_notify:  # it can only block
            await asyncio.to_thread(inner, context)
            return
        inner.context = context
        await inner

    def _raise(self, failures: Sequence[Exception]) -> None:
        for error in failures[1:]:
            self.log.error("A notification could not be sent: %s", error)
        if failures:
            raise failures[0]


def run_url(context: Any) -> str | None:
    """Return the address of the run in Airflow's UI; None where it is not known."""
    base, run = conf.get("api", "base_url", fallback=None), context.get("dag_run")
    if not base:
        return None
    value = run.get if isinstance(run, Mapping) else lambda name: getattr(run, name, None)
    dag_id = value("dag_id") or getattr(context.get("dag"), "dag_id", None)
    run_id = value("dag_run_id") or value("run_id") or context.get("run_id")
    if not dag_id or not run_id:
        return None
    return f"{base.rstrip('/')}/dags/{quote(str(dag_id), safe='')}/runs/{quote(str(run_id), safe='')}"


def _incident(context: Any) -> dict[str, Any]:
    """The incident of a context: given, of the run, or what has just gone wrong."""
    from airflow_slo_provider.incidents.incident import Incident
    from airflow_slo_provider.runtime.incidents.current_incident import CONF_KEY, incidents_of

    given, run = context.get("incident"), context.get("dag_run")
    if isinstance(given, Mapping) and given.get("id"):
        return dict(given)
    try:
        if isinstance(run, Mapping):  # a deadline: its context holds plain data only
            told = (run.get("conf") or {}).get(CONF_KEY)
            found = [Incident.from_dict(told)] if told is not None else []
        else:
            found = incidents_of(context) if run is not None else []
    except ValueError:  # what the run was started with is no incident: that something went wrong is told all the same
        found = []
    if found:
        return found[0].to_dict()
    return _mishap(context, run)


def _mishap(context: Any, run: Any) -> dict[str, Any]:
    """What has gone wrong, in the words of an incident; a notice where nothing has."""
    value = run.get if isinstance(run, Mapping) else lambda name: getattr(run, name, None)
    # Airflow's dag processor calls the callbacks of a DAG, of whose run it may know the id alone.
    run_id = ((value("dag_run_id") or value("run_id")) if run is not None else None) or context.get("run_id")
    dag_id = (value("dag_id") if run is not None else None) or getattr(context.get("dag"), "dag_id", None)
    deadline, error, reason = context.get("deadline"), context.get("exception"), context.get("reason")
    ti = context.get("ti") or context.get("task_instance")
    task_id = None
    if deadline is not None:
        kind, message = "deadline", f"the deadline {_field(deadline, 'deadline_time') or ''} of run {run_id} was missed"
    elif error is not None:
        kind, message, task_id = "failure", f"{type(error).__name__}: {error}", getattr(ti, "task_id", None)
    elif reason is not None:
        kind = "notice" if reason in _FINE else "run_failure"
        message = f"run {run_id} {'ended' if kind == 'notice' else 'has failed'}: {reason}"
    elif getattr(ti, "state", "unknown") is None:  # as the dag processor makes it, for a task that cannot speak for itself
        kind, task_id = "failure", getattr(ti, "task_id", None)
        message = "the task ended without a result: it was killed, or its worker was lost"
    else:
        kind, message = "notice", f"run {run_id}"
    subject = ".".join(str(one) for one in (dag_id, task_id) if one) or "unknown"
    return {
        "id": f"{subject}/{run_id}" if run_id else subject,
        "kind": "failure" if kind == "run_failure" else kind,
        "subject": subject,
        "severity": "",
        "started_at": datetime.now(UTC).isoformat(),
        "message": message,
        "evidence": {"reason": str(reason)} if kind == "run_failure" else {},
    }


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _headline(incident: Mapping[str, Any]) -> str:
    kinds = {
        "burning": "the error budget burns",
        "blind": "nothing is known",
        "deadline": "a deadline was missed",
        "failure": "a task has failed",
    }
    if incident.get("kind") == "failure" and (incident.get("evidence") or {}).get("reason"):
        return "the run has failed"
    return kinds.get(str(incident.get("kind")), str(incident.get("kind") or "notice"))


def _since(incident: Mapping[str, Any]) -> str:
    return str(incident.get("started_at") or datetime.now(UTC).isoformat())
