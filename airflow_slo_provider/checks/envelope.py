"""Serialise the results, or the error, of a check in a pod as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import CheckError, ReasonedError
from airflow_slo_provider.results import CheckResult

VERSION = 1


def serialise(results: Sequence[CheckResult]) -> dict[str, Any]:
    """Serialise check results.

    :param results: the results
    """
    return {"envelope_version": VERSION, "results": [result.to_dict() for result in results]}


def serialise_error(error: BaseException) -> dict[str, Any]:
    """Serialise an error. A foreign exception is marked transient, unless it shows a mistake in a spec or in the check's code.

    :param error: the exception
    """
    if isinstance(error, ReasonedError):
        content = {"message": str(error), "reason": error.reason, "transient": error.transient}
    else:
        message, reason = (
            f"{type(error).__name__}: {server_text(error)}",
            "bad_spec" if isinstance(error, ValueError) else "crashed",
        )
        transient = not isinstance(error, (ValueError, TypeError, LookupError, AttributeError))
        content = {"message": message, "reason": reason, "transient": transient}
    return {"envelope_version": VERSION, "error": content}


def deserialise(content: Any) -> list[CheckResult]:
    """Deserialise results written by :func:`serialise`, or raise the error written by :func:`serialise_error`.

    :param content: parsed JSON
    :raises CheckError: for a serialised error, for an invalid envelope, and for one without results, which is not a pass
    """
    if not isinstance(content, Mapping) or not {"results", "error"} & content.keys():
        raise CheckError(f"the check left no result, but {str(content)[:200]!r}", reason="no_result", transient=True)
    version = content.get("envelope_version")
    if version != VERSION:
        advice = "install the same release of airflow-slo-provider in the image"
        raise CheckError(f"the check's result has version {version}, not {VERSION}; {advice}", reason="other_release")
    if "error" in content:
        error = content["error"]
        raise CheckError(error["message"], reason=error["reason"], transient=error["transient"])
    try:
        results = [CheckResult.from_dict(result) for result in content["results"]]
    except (TypeError, ValueError) as error:
        raise CheckError(f"the check's result cannot be read: {error}", reason="bad_result") from error
    if not results:
        raise CheckError("the check's list of results is empty, which is not a pass", reason="no_result")
    return results
