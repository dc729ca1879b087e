"""Everything this provider raises, in its two kinds.

A **fault** says that we could not find out: the server did not answer, the answer was cut off. A fault that may pass
(:attr:`MeasurementError.transient`) is worth a retry. A **verdict** (no data, a broken document, a wrong query) stays the
same however often it is asked. The Airflow side turns the second kind into ``AirflowFailException`` so that no retry is
spent on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def writable(text: str) -> str:
    """Return a text that everything can hold: no log takes half a surrogate pair, and no PostgreSQL a NUL; JSON names both."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "backslashreplace").decode("utf-8")


def to_install(extra: str) -> str:
    """Say how an extra is installed: with the versions that the rest was installed with, or pip may exchange Airflow's own."""
    return f"pip install --constraint constraints.txt 'airflow-slo-provider[{extra}]' (in a checkout: '.[{extra}]')"


class SLOProviderError(Exception):
    """Base class of every error of this provider."""


class ReasonedError(SLOProviderError):
    """An error that says why, and whether it may pass.

    :param message: what happened, where, and what to do. It may quote a server: secrets are blanked out of it here, so that no
        caller can forget it.
    :param reason: a stable slug for programs; by default that of the class
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
    """One thing that is wrong with a document.

    :param message: what is wrong and what to do about it
    :param path: where in the document, e.g. ``spec.objectives[0].target``
    :param document: which document, e.g. ``SLO/checkout-availability``
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
    """One or more documents cannot be used; :attr:`faults` lists every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type[DocumentError], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)  # the inherited way would pickle the text and read it as the faults


class MeasurementError(ReasonedError):
    """An indicator could not be measured. It is never a pass.

    :param message: what happened, in words
    :param reason: a stable slug for programs, e.g. ``timeout``, ``bad_query``, ``empty``
    :param transient: whether the same question may succeed later
    :param query: the query text that was asked
    :param http_status: HTTP status of the answer, where there was one
    :param source: the server or database that was asked (without credentials)
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
    """The question was answered, and the answer holds nothing to judge. Neither 0 nor 1."""

    default_reason = "no_data"


class InvalidMeasurement(MeasurementError):
    """The numbers contradict each other: more good events than events, a negative count, NaN."""

    default_reason = "invalid_measurement"


class QueryError(MeasurementError):
    """The question was not answered, or not with something that can be trusted."""

    default_reason = "query_error"


class LedgerError(ReasonedError):
    """The ledger could not be opened, migrated, read or written. Reasons: ``locked``, ``read_only``, ``newer_schema``, ..."""

    default_reason = "ledger_error"


class DeploymentError(ReasonedError):
    """What is deployed could not be read or changed, or must not be changed.

    :param message: what happened, where, and what to do
    :param reason: a stable slug for programs, e.g. ``paused``, ``no_history``, ``forbidden``, ``conflict``, ``timeout``
    :param transient: whether the same call may succeed later; a refusal stays one
    :param http_status: HTTP status of the answer, where there was one
    """

    default_reason = "deployment_error"

    def __init__(
        self, message: str, *, reason: str | None = None, transient: bool = False, http_status: int | None = None
    ) -> None:
        super().__init__(message, reason=reason, transient=transient)
        self.http_status = http_status


class DeploymentArgumentError(DeploymentError, ValueError):
    """What a deployment function was asked for makes no sense, whatever is deployed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="bad_argument")


class CheckError(ReasonedError):
    """A check could not be run, or what it left behind cannot be read: ``bad_spec``, ``missing_library``, ... Never a pass."""

    default_reason = "check_error"
