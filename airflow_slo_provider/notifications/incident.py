"""Send notifications about an incident: severity, SLO, burn rates, start time, playbook and link to the DAG run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier, conf

if TYPE_CHECKING:
    from airflow.sdk import Context


#: Reasons that Airflow passes to DAG callbacks when nothing failed. Every other reason is a failure.
_SUCCESS_REASONS = frozenset({"success", "started"})


class IncidentNotifier(BaseNotifier):
    """Send a notification about an incident through an Airflow notifier, an Alertmanager, a webhook, or several of these.

    Usable as a callback of a DAG or a task, in ``notifiers=`` of the incident's task group, and in a ``DeadlineAlert``
    (``AsyncCallback(IncidentNotifier, kwargs={...})``). The notification is about the run's incident. In a run without a
    readable incident it is about the task that failed, the run that failed (as the callback of a DAG, with Airflow's reason) or
    the deadline that was missed.

    - ``notifier`` gets the context with ``incident_text``, ``incident_title`` and ``incident`` in it, for its own templates:
      ``SlackNotifier(text="{{ incident_text }}")``. For a ``DeadlineAlert``, whose arguments must be plain, give its dotted
      name and ``notifier_arguments``.
    - ``alertmanager_conn_id`` posts an alert ``SLOIncident`` with the labels ``slo``, ``severity`` and ``incident``.
    - ``webhook_conn_id`` posts JSON: ``title``, ``text``, ``severity``, ``slo``, ``since``, ``playbook``, ``playbook_url``,
      ``run_url``, ``incident``.

    The connections have the fields of a Prometheus connection: the host is the URL; login and password, or ``token`` in the
    extra, are the credentials. If one channel fails, the others are still tried, and the first error is raised at the end.

    :param notifier: a notifier, or the dotted name of a notifier class
    :param notifier_arguments: arguments of the notifier if it is given by name; the notifier renders its own template fields
    :param alertmanager_conn_id: connection of an Alertmanager. (templated)
    :param webhook_conn_id: connection of a webhook. (templated)
    :param playbook_url: URL of the playbook. (templated)
    :param text: text to append to the message. (templated)
    :raises ValueError: if no channel is given, or ``notifier_arguments`` without the dotted name of a notifier
    """

    # notifier_arguments is not in the list: the notifier renders its own fields. Rendered here first, a template inside an
    # alert's label would be executed by the notifier.
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
            raise ValueError("IncidentNotifier has no channel: set notifier, alertmanager_conn_id or webhook_conn_id")
        if notifier_arguments is not None and not isinstance(notifier, str):
            raise ValueError("notifier_arguments needs the dotted name of a notifier as notifier")
        self.notifier = notifier
        self.notifier_arguments = dict(notifier_arguments) if notifier_arguments is not None else None
        self.alertmanager_conn_id, self.webhook_conn_id = alertmanager_conn_id, webhook_conn_id
        self.playbook_url, self.text = playbook_url, text

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render the template fields with ``incident``, ``incident_title`` and ``incident_text`` in the context."""
        # A copy: Airflow passes the same context to the next callback of this try, which would report this incident again.
        super().render_template_fields({**self._template_variables(context), **context}, jinja_env)

    def notify(self, context: Context) -> None:
        """Send the notification through all channels and wait for them.

        :param context: Airflow's context
        :raises Exception: the first error, after all channels were tried
        """
        from airflow.sdk import BaseHook

        from airflow_slo_provider.runtime.connections.webhook import post

        message = self.message(context)
        senders = (
            [lambda: self._inner_notifier().__call__({**context, **self._template_variables(context)})]
            if self.notifier is not None
            else []
        )
        for conn_id, path, body in self._requests(message):
            senders.append(lambda conn_id=conn_id, path=path, body=body: post(BaseHook.get_connection(conn_id), path, body))
        failures = []
        for send in senders:
            try:
                send()
            except Exception as error:
                failures.append(error)
        self._raise(failures)

    async def async_notify(self, context: Context) -> None:
        """Send the notification through all channels without blocking the event loop.

        :param context: Airflow's context
        :raises Exception: the first error, after all channels were tried
        """
        from airflow.sdk import BaseHook

        from airflow_slo_provider.runtime.connections.webhook import apost

        failures = []
        message = self.message(context)
        if self.notifier is not None:
            try:
                await self._through_notifier({**context, **self._template_variables(context)})
            except Exception as error:
                failures.append(error)
        for conn_id, path, body in self._requests(message):
            try:
                await apost(await BaseHook.aget_connection(conn_id), path, body)
            except Exception as error:
                failures.append(error)
        self._raise(failures)

    def message(self, context: Any) -> dict[str, Any]:
        """Return the notification as a JSON-able dict, as the webhook gets it.

        :param context: Airflow's context
        """
        from airflow_slo_provider.runtime.secret_masks import masked

        incident, choice = _incident(context), context.get("choice") or {}
        # The message may be that of any exception and may quote a URL with its password, so it is masked wherever it comes
        # from.
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

    def _template_variables(self, context: Any) -> dict[str, Any]:
        message = self.message(context)
        return {"incident_title": message["title"], "incident_text": message["text"], "incident": message["incident"]}

    def _requests(self, message: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
        requests: list[tuple[str, str, Any]] = []
        if self.webhook_conn_id:
            requests.append((self.webhook_conn_id, "", dict(message)))
        if self.alertmanager_conn_id:
            labels = {"alertname": "SLOIncident", "slo": str(message["slo"]), "severity": str(message["severity"])}
            labels["slo_service"] = str((message["incident"].get("evidence") or {}).get("slo_service") or "")
            labels["incident"] = str(message["incident"].get("id", ""))
            annotations = {"summary": message["title"], "description": message["text"]}
            annotations |= {"runbook_url": self.playbook_url} if self.playbook_url else {}
            alert = {
                "labels": {key: value for key, value in labels.items() if value},
                "annotations": annotations,
                "startsAt": message["since"],
            }
            if message["run_url"]:
                alert["generatorURL"] = message["run_url"]
            requests.append((self.alertmanager_conn_id, "/api/v2/alerts", [alert]))
        return requests

    def _inner_notifier(self) -> Any:
        if not isinstance(self.notifier, str):
            return self.notifier
        from importlib import import_module

        module, _, name = self.notifier.rpartition(".")
        return getattr(import_module(module), name)(**(self.notifier_arguments or {}))

    async def _through_notifier(self, context: Any) -> None:
        inner = self._inner_notifier()
        if type(inner).async_notify is BaseNotifier.async_notify:  # it has no asynchronous implementation
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
    """Return the URL of the DAG run in Airflow's UI, or None if it is not known.

    :param context: Airflow's context
    """
    base, (dag_id, run_id) = conf.get("api", "base_url", fallback=None), _run_ids(context)
    if not base or not dag_id or not run_id:
        return None
    return f"{base.rstrip('/')}/dags/{quote(str(dag_id), safe='')}/runs/{quote(str(run_id), safe='')}"


def _run_ids(context: Any) -> tuple[Any, Any]:
    """Return the ids of DAG and run. The DAG processor calls DAG callbacks, and it may know only the id of the run."""
    run = context.get("dag_run")
    dag_id = _field(run, "dag_id") or getattr(context.get("dag"), "dag_id", None)
    return dag_id, _field(run, "dag_run_id") or _field(run, "run_id") or context.get("run_id")


def _incident(context: Any) -> dict[str, Any]:
    """Return the incident of a context: the given one, that of the run, or one made from the failure or missed deadline."""
    from airflow_slo_provider.incidents.incident import Incident
    from airflow_slo_provider.runtime.incidents.current_incident import CONF_KEY, incidents_of

    given, run = context.get("incident"), context.get("dag_run")
    if isinstance(given, Mapping) and given.get("id"):
        return dict(given)
    try:
        if isinstance(run, Mapping):  # a DeadlineAlert: its context holds plain data only
            data = (run.get("conf") or {}).get(CONF_KEY)
            found = [Incident.from_dict(data)] if data is not None else []
        else:
            found = incidents_of(context) if run is not None else []
    except ValueError:  # the run's conf holds no valid incident: the failure is still reported
        found = []
    return found[0].to_dict() if found else _incident_of_failure(context)


def _incident_of_failure(context: Any) -> dict[str, Any]:
    """Make an incident dict from a failed task, a failed run or a missed deadline; a notice if nothing failed."""
    dag_id, run_id = _run_ids(context)
    deadline, error, reason = context.get("deadline"), context.get("exception"), context.get("reason")
    ti = context.get("ti") or context.get("task_instance")
    task_id = None
    if deadline is not None:
        kind, message = "deadline", f"the deadline {_field(deadline, 'deadline_time') or ''} of run {run_id} was missed"
    elif error is not None:
        kind, message, task_id = "failure", f"{type(error).__name__}: {error}", getattr(ti, "task_id", None)
    elif reason is not None:
        kind = "notice" if reason in _SUCCESS_REASONS else "run_failure"
        message = f"run {run_id} {'ended' if kind == 'notice' else 'has failed'}: {reason}"
    elif getattr(ti, "state", "unknown") is None:  # the DAG processor calls the callback for a task whose process is gone
        kind, task_id = "failure", getattr(ti, "task_id", None)
        message = "the task ended without a result: it was killed, or its worker was lost"
    else:
        kind, message = "notice", f"run {run_id}"
    subject = ".".join(str(part) for part in (dag_id, task_id) if part) or "unknown"
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
        "blind": "no measurement is available",
        "deadline": "a deadline was missed",
        "failure": "a task has failed",
    }
    if incident.get("kind") == "failure" and (incident.get("evidence") or {}).get("reason"):
        return "the run has failed"
    return kinds.get(str(incident.get("kind")), str(incident.get("kind") or "notice"))


def _since(incident: Mapping[str, Any]) -> str:
    return str(incident.get("started_at") or datetime.now(UTC).isoformat())
