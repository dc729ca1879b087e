"""Serialise the results, or the error, of a check in a pod as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import CheckError, ReasonedError
from airflow_slo_provider.results import CheckResult

VERSION = 1


def seal(results: Sequence[CheckResult]) -> dict[str, Any]:
    """Serialise check results.

    :param results: the results
    """
    return {"envelope_version": VERSION, "results": [result.to_dict() for result in results]}


def seal_error(error: BaseException) -> dict[str, Any]:
    """Serialise an error. A foreign exception is marked transient, unless it shows a mistake in a spec or in the check's code.

    :param error: the exception
    """
    if isinstance(error, ReasonedError):
        told = {"message": str(error), "reason": error.reason, "transient": error.transient}
    else:
        passing = not isinstance(error, (ValueError, TypeError, LookupError, AttributeError))
        told = {"message": f"{type(error).__name__}: {server_text(error)}", "reason": _reason(error), "transient": passing}
    return {"envelope_version": VERSION, "error": told}


def unseal(content: Any) -> list[CheckResult]:
    """Deserialise results written by :func:`seal`, or raise the error written by :func:`seal_error`.

    :param content: parsed JSON
    :raises CheckError: for a serialised error, for an invalid envelope, and for one without results, which is not a pass
    """
    if not isinstance(content, Mapping) or not {"results", "error"} & content.keys():
        raise CheckError(f"the check left no result behind, but {str(content)[:200]!r}", reason="no_result", transient=True)
    if content.get("envelope_version") != VERSION:
        raise CheckError(
            f"the check's result has version {content.get('envelope_version')}, and {VERSION} can be read here: "
            "install the same release of airflow-slo-provider in the image",
            reason="other_release",
        )
    if "error" in content:
        error = content["error"]
        raise CheckError(error["message"], reason=error["reason"], transient=error["transient"])
    try:
        results = [CheckResult.from_dict(one) for one in content["results"]]
    except (TypeError, ValueError) as error:
        raise CheckError(f"the check's result cannot be read: {error}", reason="bad_result") from error
    if not results:
        raise CheckError("the check's list of results is empty, which is not a pass", reason="no_result")
    return results


def _reason(error: BaseException) -> str:
    return "bad_spec" if isinstance(error, ValueError) else "crashed"
