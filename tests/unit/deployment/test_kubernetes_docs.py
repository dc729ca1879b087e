"""The role in docs/kubernetes.md grants exactly the permissions that the client requests."""

from __future__ import annotations

import re

import yaml

from tests.support import REPO

PAGE = (REPO / "docs" / "kubernetes.md").read_text()


def granted() -> set[tuple[str, str, str]]:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    role = next(yaml.safe_load_all(block))
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def requested() -> set[tuple[str, str, str]]:
    source = (REPO / "airflow_slo_provider" / "deployment" / "kubernetes" / "api.py").read_text()
    found = set(re.findall(r'KubernetesRequest\("(\w+)", "([\w/]+)", namespace(?:, name)?(?:, group="(\w+)")?\)', source))
    assert len(found) == source.count('request = KubernetesRequest("')
    return {(group or "apps", resource, verb) for verb, resource, group in found}


def test_documented_role_grants_exactly_the_requested_permissions() -> None:
    assert granted() == requested()
