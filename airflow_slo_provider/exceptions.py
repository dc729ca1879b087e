"""Exceptions raised by this provider: faults, which a retry may fix, and verdicts, which it cannot.

A **fault** means that no result could be obtained: the server did not answer, or the answer was truncated. A transient fault
(:attr:`MeasurementError.transient`) is worth a retry. A **verdict** (no data, an invalid document, a wrong query) stays the
same on every attempt. The operators convert verdicts into ``AirflowFailException`` so that no retry is spent on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def writable(text: str) -> str:
    """Replace NUL characters and unpaired surrogates, which logs and PostgreSQL reject and JSON may contain."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "backslashreplace").decode("utf-8")


def to_install(extra: str) -> str:
    """Return the command that installs an extra. The constraints file keeps pip from replacing Airflow's own packages."""
    return f"pip install --constraint constraints.txt 'airflow-slo-provider[{extra}]' (in a checkout: '.[{extra}]')"


class SLOProviderError(Exception):
    """Base class of every error of this provider."""


class ReasonedError(SLOProviderError):
    """An error with a machine-readable reason and a flag that tells whether a retry may succeed.

    :param message: what happened, where, and what to do. Secrets in it are redacted here, because it may quote a server's
        answer.
    :param reason: a stable slug for programs; the default of the class if not set
    :param transient: whether the same call may succeed later
    """

    default_reason = "error"

    def __init__(self, message: str, *, reason: str | None = None, transient: bool = False) -> None:
        from airflow_slo_provider.core.redaction import redact

        self.message = redact(writable(message), limit=None)
        super().__init__(self.message)
        self.reason = reason or self.default_reason
        self.transient = transient


@dataclass(frozen=True)
class Fault:
    """An error in a document, with its location.

    :param message: what is wrong and what to do about it
    :param path: path within the document, e.g. ``spec.objectives[0].target``
    :param document: kind and name of the document, e.g. ``SLO/checkout-availability``
    :param file: the file it was read from, or ``<text>``
    :param line: 1-based line in that file
    """

    message: str
    path: str = ""
    document: str = ""
    file: str = "<text>"
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        what = " ".join(part for part in (self.document, self.path) if part)
        return f"{where}: {what}: {self.message}" if what else f"{where}: {self.message}"


class DocumentError(SLOProviderError, ValueError):
    """One or more documents are invalid; :attr:`faults` lists every error.

    :param faults: the errors, with the file and line of each
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type[DocumentError], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)  # the inherited __reduce__ would pass the message instead of the faults


class MeasurementError(ReasonedError):
    """An indicator could not be measured. This never counts as a pass.

    :param message: what happened
    :param reason: a stable slug for programs, e.g. ``timeout``, ``bad_query``, ``empty``
    :param transient: whether the same query may succeed later
    :param query: the text of the query
    :param http_status: HTTP status of the answer, if there was one
    :param source: the server or database that was queried (without credentials)
    """

    default_reason = "measurement_error"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        transient: bool = False,
        query: str | None = None,
        http_status: int | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(message, reason=reason, transient=transient)
        self.query = query
        self.http_status = http_status
        self.source = source

    def __str__(self) -> str:
        parts = [self.message]
        if self.query:
            parts.append(f"query: {self.query}")
        if self.source:
            parts.append(f"asked: {self.source}")
        return "; ".join(parts)


class NoData(MeasurementError):
    """The query succeeded but returned no data to evaluate. The value is neither 0 nor 1."""

    default_reason = "no_data"


class InvalidMeasurement(MeasurementError):
    """The measured numbers are invalid: more good events than events, a negative count, or NaN."""

    default_reason = "invalid_measurement"


class QueryError(MeasurementError):
    """The query failed, or its answer cannot be trusted."""

    default_reason = "query_error"


class LedgerError(ReasonedError):
    """The ledger could not be opened, migrated, read or written. Reasons: ``locked``, ``read_only``, ``newer_schema``, ..."""

    default_reason = "ledger_error"


class DeploymentError(ReasonedError):
    """A deployment could not be read or changed, or must not be changed.

    :param message: what happened, where, and what to do
    :param reason: a stable slug for programs, e.g. ``paused``, ``no_history``, ``forbidden``, ``conflict``, ``timeout``
    :param transient: whether the same call may succeed later; False for a refusal
    :param http_status: HTTP status of the answer, if there was one
    """

    default_reason = "deployment_error"

    def __init__(
        self, message: str, *, reason: str | None = None, transient: bool = False, http_status: int | None = None
    ) -> None:
        super().__init__(message, reason=reason, transient=transient)
        self.http_status = http_status


class DeploymentArgumentError(DeploymentError, ValueError):
    """The arguments of a deployment function are invalid, regardless of what is deployed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="bad_argument")


class CheckError(ReasonedError):
    """A check could not be run, or its result cannot be read. This never counts as a pass.

    Reasons: ``bad_spec``, ``missing_library``, ...
    """

    default_reason = "check_error"
