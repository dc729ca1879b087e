"""Rule files of whole documents: promtool accepts them, and imported documents alert as at home."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from airflow_slo_provider.slo.export.prometheus_rules import rules
from tests.services.promtool import (
    BURN,
    LABELS,
    burns,
    check,
    equals,
    fires,
    run,
    series,
)
from tests.support import acceptance
from tests.unit.slo.rules_builders import (
    catalog,
    condition,
    policy,
    slo,
)


def test_two_services_with_an_slo_of_one_name_have_alerts_of_their_own(tmp_path: Path) -> None:
    text = rules(catalog(slo(service="cart"), slo(service="pay")))
    (tmp_path / "rules.yml").write_text(text)
    check(tmp_path / "rules.yml")
    alerts = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"] if "alert" in rule]
    assert {rule["labels"]["slo_service"] for rule in alerts} == {"cart", "pay"}


@pytest.mark.parametrize(
    ("parts", "groups"),
    [
        (("sloth", "getting-started.yml"), 4),
        (("sloth", "home-wifi.yml"), 8),
        (("openslo", "examples-v1", "slos.yaml"), 4),
    ],
)
def test_rules_of_published_documents_pass_promtool(tmp_path: Path, parts: tuple[str, ...], groups: int) -> None:
    from airflow_slo_provider.slo.documents.document_files import load

    (tmp_path / "rules.yml").write_text(rules(load(str(acceptance("slo", *parts)))))
    check(tmp_path / "rules.yml")
    assert len(yaml.safe_load((tmp_path / "rules.yml").read_text())["groups"]) == groups


def test_imported_sloth_document_fires_like_sloth(tmp_path: Path) -> None:
    from airflow_slo_provider.slo.documents.document_files import load

    imported = load(str(acceptance("slo", "sloth", "getting-started.yml")))
    labels = LABELS | {"owner": "myteam", "repo": "myorg/myservice", "tier": "2", "slo": imported.slos[0].name}
    run(
        tmp_path,
        rules(imported),
        {
            "interval": "1m",
            "input_series": series(ok="0+98x2000", failed="0+2x2000"),
            "promql_expr_test": [equals("slo:period_error_budget_remaining:ratio", -19, "3h")],
            "alert_rule_test": [fires(BURN, "3h", burns("page", "20", labels), burns("ticket", "20", labels))],
        },
        every="5m",
    )


def test_special_characters_in_documents_are_escaped(tmp_path: Path) -> None:
    hostile = slo(
        name='quo"te\\back{{ .Nope }}\nline: [x]',
        service="a'b\"{{ $labels.x }}#",
        labels={"team": ('x"y\\z{{ $value }}\nnext',), "__name__": ("gone",), "1st": ("one",), "slo": ("two",), "empty": ("",)},
        alert_policies=(policy(condition("weird {{ name"), breaching=True),),
    )
    (tmp_path / "rules.yml").write_text(rules(catalog(hostile, slo(name="zweites-\u00fc"))))
    check(tmp_path / "rules.yml")
    document = yaml.safe_load((tmp_path / "rules.yml").read_text())
    assert all(rule["labels"]["slo"] in (hostile.name, "zweites-\u00fc") for rule in document["groups"][0]["rules"])
    run(
        tmp_path,
        rules(catalog(hostile)),
        {
            "interval": "1m",
            "input_series": series(failed="0+10x100"),
            "promql_expr_test": [equals("slo:period_error_budget_remaining:ratio", -999, "1h")],
        },
    )
