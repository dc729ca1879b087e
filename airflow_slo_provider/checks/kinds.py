"""The registry of check kinds: find and run a check by its kind. A kind's module is imported on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.exceptions import CheckError, SLOProviderError
from airflow_slo_provider.results import CheckResult

#: Takes a spec, returns check results. Raises an error of this provider, or ValueError for an invalid spec.
Check = Callable[[Mapping[str, Any]], Iterable[CheckResult]]

#: Kind -> ``module:function``.
KINDS: dict[str, str] = {
    "drift": "airflow_slo_provider.checks.drift:run",
    "golden_set": "airflow_slo_provider.checks.golden_set:run",
    "slo": "airflow_slo_provider.checks.slo:run",
}


def find_check(kind: str) -> Check:
    """Return the check of a kind.

    :param kind: a name of :data:`KINDS`, or ``module:function`` for a custom check
    :raises CheckError: when there is no such check, or the image lacks a required package
    """
    location = kind if ":" in kind else KINDS.get(kind)
    if location is None:
        known = ", ".join(sorted(KINDS))
        message = f"there is no check of kind {kind!r}, only {known}; write module:function for a custom check"
        raise CheckError(message, reason="unknown_kind")
    module, _, function = location.partition(":")
    try:
        check: Check = getattr(import_module(module), function)
    except ImportError as error:
        raise _missing_library(kind, error) from error
    except AttributeError as error:
        raise CheckError(f"{module} has no function {function!r} for the check {kind}", reason="unknown_kind") from error
    return check


def name_result(kind: str, spec: Any) -> tuple[str, str | None]:
    """Return kind and name of a check's result, as far as its spec determines them.

    :param kind: see :func:`find`
    :param spec: the spec: a mapping, or its JSON
    :return: kind and name; ``pod_check`` and None if only the check itself determines them
    """
    if isinstance(spec, str):
        try:
            spec = strict_json.loads(spec)
        except ValueError:
            spec = None
    name = None
    if isinstance(spec, Mapping):
        golden_set = str(spec.get("golden_set") or "").rstrip("/").rpartition("/")[2]
        name = spec.get("name") or {"drift": "drift", "golden_set": golden_set}.get(kind)
    return (kind, str(name)) if kind in ("drift", "golden_set") and name else ("pod_check", None)


def run_check(kind: str, spec: Mapping[str, Any]) -> list[CheckResult]:
    """Run a check.

    :param kind: see :func:`find`
    :param spec: the spec; its keys depend on the kind
    :raises CheckError: when it cannot be run, and when it returns no results, which is not a pass
    :raises SLOProviderError: any error that the check raises
    """
    check = find_check(kind)
    try:
        results = list(check(spec))
    except SLOProviderError:
        raise
    except ImportError as error:
        raise _missing_library(kind, error) from error
    except ValueError as error:
        raise CheckError(f"check {kind}: {error}", reason="bad_spec") from error
    if not results:
        raise CheckError(f"check {kind} returned no results, which is not a pass", reason="no_result")
    return results


def check_keys(kind: str, spec: Mapping[str, Any], *, known: Iterable[str], required: Iterable[str]) -> None:
    """Reject a spec with an unknown key, or without a required one.

    :raises CheckError: with the known keys
    """
    known = frozenset(known)
    errors = [f"unknown key {key!r}" for key in sorted(spec.keys() - known)]
    errors += [f"no {key}" for key in required if not spec.get(key)]
    if errors:
        raise CheckError(f"check {kind}: {errors[0]}; a spec has {', '.join(sorted(known))}", reason="bad_spec")


def _missing_library(kind: str, error: ImportError) -> CheckError:
    message = f"check {kind} needs {error.name or 'a library'}, which is not installed here ({error}); add it to the image"
    return CheckError(message, reason="missing_library")
