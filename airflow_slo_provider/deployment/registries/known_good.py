"""Find the known good model versions by their check results in the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.deployment.registries.names import PROMOTE, ROLLBACK
from airflow_slo_provider.exceptions import DeploymentError
from airflow_slo_provider.results import CheckResult, Verdict

LATENCY = "latency"
#: Kinds of check that judge a model version. Others, e.g. of a model's age, count if ``checks`` names them.
JUDGING = frozenset({"golden_set", LATENCY, "drift"})
CULPRIT = "culprit"
#: Records against a version: it was named as the culprit of an incident, or a rollback replaced it.
ACCUSING = frozenset({CULPRIT, ROLLBACK})
#: Actions and decisions never judge a model, whatever their name: a promotion does not make a version good.
_ACTIONS = ACCUSING | {PROMOTE, "deployment", "decision"}


def good_versions(results: Iterable[CheckResult], *, checks: Collection[str] | None = None) -> list[str]:
    """Return the model versions whose newest checks all passed, ordered by the time of those checks, newest last.

    Of each check (kind and name) the newest result about a version counts. A warning does not make a version bad; ``fail`` and
    ``unknown`` do. If a check has parts (``name/part``) only the total counts; a latency check has no total: all its parts count.
    A version that was named as the culprit of an incident, or replaced by a rollback, is not good, even though it had passed its
    checks before.

    :param results: check results from the ledger, in any order; results without a model version are ignored
    :param checks: names of the checks that count, each as ``name`` or ``kind/name``, for latency checks also the service; a good
        version must have been judged by each of them. None for all checks of the kinds :data:`JUDGING`
    :raises DeploymentError: when a version was judged by checks of the same kind and different names, and ``checks`` does not
        name those that count: two models may both have a version 7
    """
    checks = None if checks is None else text_list(checks)
    newest: dict[str, dict[tuple[str, str], CheckResult]] = {}
    accused: set[str] = set()
    for result in results:
        accused.update(_accused_versions(result))
        if result.model_version is None or not _is_relevant(result, checks):
            continue
        of_version = newest.setdefault(result.model_version, {})
        before = of_version.get((result.kind, result.name))
        if before is None or before.checked_at <= result.checked_at:
            of_version[result.kind, result.name] = result
    if checks is None:
        newest = {version: _without_parts(of_version) for version, of_version in newest.items()}
        _refuse_ambiguity(newest)
    good = {
        version: max(result.checked_at for result in of_version.values())
        for version, of_version in newest.items()
        if version not in accused
        and all(result.verdict in (Verdict.PASS, Verdict.WARN) for result in of_version.values())
        and any(result.verdict is Verdict.PASS for result in of_version.values())
        and all(any(check in _names(result) for result in of_version.values()) for check in checks or ())
    }
    return sorted(good, key=lambda version: good[version])


def _is_relevant(result: CheckResult, checks: Collection[str] | None) -> bool:
    if checks is None:
        return result.kind in JUDGING
    return result.kind not in _ACTIONS and not _names(result).isdisjoint(checks)


def _accused_versions(result: CheckResult) -> Iterator[str]:
    if result.kind == CULPRIT and result.model_version is not None:
        yield result.model_version
    left = result.evidence.get("from") if result.kind == ROLLBACK else None
    if left is not None and left != result.evidence.get("to"):
        yield str(left)


def _names(result: CheckResult) -> set[str]:
    """Return the names that ``checks`` may use for a check."""
    names = {result.name, _subject(result.kind, result.name)}
    return names | {f"{result.kind}/{name}" for name in names}


def _subject(kind: str, name: str) -> str:
    """Return the common subject of a check's rows: latency has one row per span and tier, all named after the service."""
    return name.partition("/")[0] if kind == LATENCY else name


def _without_parts(of_version: dict[tuple[str, str], CheckResult]) -> dict[tuple[str, str], CheckResult]:
    """Remove the parts of a check (``name/part``, for drift ``name.column``) if the total (``name``) exists."""
    return {
        (kind, name): result
        for (kind, name), result in of_version.items()
        if not any((kind, name[:end]) in of_version for end in range(1, len(name)) if name[end] == _separator(kind))
    }


def _separator(kind: str) -> str:
    return "." if kind == "drift" else "/"


def _refuse_ambiguity(newest: dict[str, dict[tuple[str, str], CheckResult]]) -> None:
    for version, of_version in newest.items():
        subjects: dict[str, set[str]] = {}
        for kind, name in of_version:
            subjects.setdefault(kind, set()).add(_subject(kind, name))
        for kind, names in subjects.items():
            if len(names) > 1:
                raise DeploymentError(
                    f"model version {version} was judged by the {kind} checks {', '.join(sorted(names))}, which may be about "
                    "different models: set checks=[...] to those that count",
                    reason="ambiguous_checks",
                )
