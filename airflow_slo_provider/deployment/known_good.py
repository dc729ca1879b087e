"""Which model versions are known to be good, from the checks that were made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from airflow_slo_provider.exceptions import DeploymentError
from airflow_slo_provider.results import CheckResult, Verdict

#: What was done to a Deployment says nothing about the model in it.
NOT_JUDGING = frozenset({"deployment", "decision"})


def good_versions(results: Iterable[CheckResult], *, checks: Collection[str] | None = None) -> list[str]:
    """Return the model versions whose newest checks all passed, in the order of those checks, the newest last.

    Of each check (kind and name) the newest result about a version counts. A warning does not make a version bad; ``fail`` and
    ``unknown`` do. Of a check that has parts (``name/part``) the whole counts.

    :param results: checks, in any order; those without a model version are passed over
    :param checks: names of the checks that count, as ``name`` or ``kind/name``; None for all
    :raises DeploymentError: when a version was judged by checks of the same kind and different names and ``checks`` does not say
        which count: two models may both have a version 7
    """
    newest: dict[str, dict[tuple[str, str], CheckResult]] = {}
    for result in results:
        counts = checks is None or result.name in checks or f"{result.kind}/{result.name}" in checks
        if result.model_version is None or result.kind in NOT_JUDGING or not counts:
            continue
        of_version = newest.setdefault(result.model_version, {})
        before = of_version.get((result.kind, result.name))
        if before is None or before.checked_at <= result.checked_at:
            of_version[result.kind, result.name] = result
    if checks is None:
        newest = {version: _wholes(of_version) for version, of_version in newest.items()}
        _refuse_ambiguity(newest)
    good = {
        version: max(result.checked_at for result in of_version.values())
        for version, of_version in newest.items()
        if all(result.verdict in (Verdict.PASS, Verdict.WARN) for result in of_version.values())
        and any(result.verdict is Verdict.PASS for result in of_version.values())
    }
    return sorted(good, key=lambda version: good[version])


def _wholes(of_version: dict[tuple[str, str], CheckResult]) -> dict[tuple[str, str], CheckResult]:
    """Leave the parts of a check out (``name/part``): the whole (``name``) has judged them."""
    return {
        (kind, name): result
        for (kind, name), result in of_version.items()
        if not any((kind, name[:place]) in of_version for place in range(1, len(name)) if name[place] == "/")
    }


def _refuse_ambiguity(newest: dict[str, dict[tuple[str, str], CheckResult]]) -> None:
    for version, of_version in newest.items():
        for kind, name in of_version:
            others = sorted(other for other_kind, other in of_version if other_kind == kind and other != name)
            if others:
                names = ", ".join(sorted([name, *others]))
                raise DeploymentError(
                    f"model version {version} was judged by the {kind} checks {names}, which may be about different models: "
                    "say with checks=[...] which ones count",
                    reason="ambiguous_checks",
                )
