from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from airflow_slo_provider.exceptions import DocumentError
from airflow_slo_provider.incidents import (
    Incident,
    IncidentPlaybook,
    IncidentType,
    Phase,
    PlaybookStep,
    Severity,
    choose_playbook,
    load_playbooks,
    shipped_playbook,
    shipped_playbooks,
)
from airflow_slo_provider.incidents.playbook import fill_parameters
from airflow_slo_provider.incidents.playbook_lookup import find_playbook, find_playbooks
from tests.support import REPO

GOOD = """\
apiVersion: airflow-slo/v1
kind: IncidentPlaybook
metadata:
  name: mine
spec:
  incidentType: my_incident
  severity:
    - level: critical
      when:
        - {field: severity, pattern: page}
    - level: low
  parameters:
    slos: {description: documents}
  steps:
    - id: look
      phase: detection
      action: Look
      check: burning
      with: {slos: '${slos}'}
    - id: think
      phase: diagnosis
      action: Think
      checklist: [what has changed]
    - id: ask
      phase: mitigation
      action: Ask
      approval: {timeout: 5m, default: reject}
    - id: act
      phase: mitigation
      action: Act
      operator: airflow.providers.standard.operators.empty.EmptyOperator
      after: [ask]
    - id: verify
      phase: resolution
      action: Verify
      check: recovered
      with: {slos: '${slos}'}
    - id: learn
      phase: post_mortem
      action: Learn
      link: https://example.org/wiki
"""


def faults(text: str, tmp_path: Path) -> list[str]:
    file = tmp_path / "playbook.yaml"
    file.write_text(text)
    with pytest.raises(DocumentError) as caught:
        load_playbooks(file)
    return [f"{fault.line}: {fault.path}: {fault.message}" for fault in caught.value.faults]


class TestShipped:
    @pytest.mark.parametrize("kind", list(IncidentType))
    def test_shipped_playbook_has_every_phase_in_order(self, kind: IncidentType):
        steps = IncidentPlaybook.get_playbook(kind)
        assert isinstance(steps, list) and all(isinstance(step, PlaybookStep) for step in steps)
        phases = [step.phase for step in steps]
        assert list(dict.fromkeys(phases)) == [*Phase]
        assert phases == sorted(phases, key=[*Phase].index)
        assert all(step.action for step in steps)
        assert any(step.commands for step in steps) or any(step.checklist for step in steps)

    def test_every_incident_type_has_a_shipped_playbook(self):
        assert [one.incident_type for one in shipped_playbooks()] == [*IncidentType]

    def test_shipped_playbooks_are_readable_by_every_yaml_parser(self):
        for playbook in shipped_playbooks():
            read = yaml.load(Path(playbook.file).read_text(), Loader=yaml.SafeLoader)
            assert {step["id"]: tuple(step.get("checklist", ())) for step in read["spec"]["steps"]} == {
                step.id: step.checklist for step in playbook.steps
            }

    def test_playbook_step_is_immutable(self):
        step = IncidentPlaybook.get_playbook(IncidentType.TRAFFIC_SPIKE)[0]
        with pytest.raises(dataclasses.FrozenInstanceError):
            step.action = "x"

    def test_get_playbook_accepts_the_type_as_text(self):
        assert IncidentPlaybook.get_playbook("accuracy_drop") == IncidentPlaybook.get_playbook(IncidentType.ACCURACY_DROP)

    def test_get_playbook_with_unknown_type_lists_the_known_types(self):
        with pytest.raises(ValueError, match=r"no playbook is shipped for 'fire', only for model_serving_degradation"):
            IncidentPlaybook.get_playbook("fire")

    @pytest.mark.parametrize("kind", list(IncidentType))
    def test_mitigation_operators_run_only_after_an_approval(self, kind: IncidentType):
        playbook = shipped_playbook(kind)
        for step in playbook.steps:
            if "ollback" in step.target or "TriggerDagRun" in step.target:
                assert "approve" in step.after, step.id
        assert any(step.kind == "approval" for step in playbook.steps)


class TestReading:
    def test_load_playbooks_reads_every_field(self):
        (playbook,) = load_playbooks(GOOD)
        assert playbook.step_ids == ("look", "think", "ask", "act", "verify", "learn")
        act, ask = playbook.step("act"), playbook.step("ask")
        assert (act.kind, act.after, act.line) == ("operator", ("ask",), 28)
        assert (ask.timeout.total_seconds(), ask.approve_by_default) == (300, False)
        assert playbook.step("look").parameters == ("slos",)
        with pytest.raises(KeyError, match="no step 'nope', only look"):
            playbook.step("nope")

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("check: burning", "check: burnig", r"18: spec.steps\[0\].check: 'burnig' is none of .*did you mean 'burning'"),
            ("check: burning", "shell: rm", r"18: spec.steps\[0\].shell: unknown field"),
            ("      checklist: [what has changed]\n", "", r"22: spec.steps\[1\].action: the step does nothing"),
            ("after: [ask]", "after: [aks]", r"32: spec.steps\[3\].after: there is no step 'aks'; did you mean 'ask'"),
            ("after: [ask]", "after: [act]", r"32: spec.steps\[3\].after: a cycle: act after act"),
            ("after: [ask]", "after: [verify]", r"32: .*a cycle: 'verify' is of phase resolution"),
            ("level: critical", "level: catastrophic", r"8: spec.severity\[0\].level: 'catastrophic' is none of critical, high"),
            ("    - level: low\n", "", r"9: spec.severity\[0\].when: the last severity must always apply"),
            (
                "      check: recovered\n",
                "      check: recovered\n      link: https://x\n",
                r"37: .*one of check and link, not both",
            ),
            ("default: reject", "default: maybe", r"27: .*'maybe' is none of reject, approve"),
            ("phase: post_mortem", "phase: mitigation", r"14: spec.steps: no step of phase post_mortem"),
            ("phase: diagnosis", "phase: diagnose", r"21: .*'diagnose' is none of .*did you mean 'diagnosis'"),
            ("id: think", "id: look", r"20: .*step 'look' occurs twice; the first is on line 15"),
            ("id: think", "id: Think!", r"20: .*is not a valid task name"),
            ("with: {slos: '${slos}'}\n    - id: think", "with: {slos: '${slo}'}\n    - id: think", r"19: .*is not a parameter"),
            ("operator: airflow.providers.standard.operators.empty.EmptyOperator", "operator: os", r"31: .*not the dotted name"),
            ("https://example.org/wiki", "javascript:alert(1)", r"41: .*is not an http\(s\) address"),
            ("pattern: page", "pattern: '('", r"10: .*is not a regular expression"),
            ("incidentType: my_incident", "incidentType: My Incident", r"6: .*is not a valid name"),
        ],
    )
    def test_invalid_playbook_is_rejected_with_line_number(self, old: str, new: str, expected: str, tmp_path: Path):
        assert old in GOOD
        found = faults(GOOD.replace(old, new, 1), tmp_path)
        assert any(re.search(expected, one) for one in found), found

    def test_cycle_of_several_steps_is_rejected(self, tmp_path: Path):
        text = GOOD.replace("      approval:", "      after: [act]\n      approval:")
        assert any("a cycle: " in one and "ask" in one and "act" in one for one in faults(text, tmp_path))

    def test_all_errors_of_a_directory_are_reported_with_their_files(self, tmp_path: Path):
        file = tmp_path / "x.yaml"
        file.write_text(GOOD.replace("after: [ask]", "after: [aks]").replace("level: critical", "level: bad"))
        with pytest.raises(DocumentError) as caught:
            load_playbooks(file)
        assert len(caught.value.faults) == 2
        assert str(caught.value).count(f"{file}:") == 2

    def test_duplicate_names_and_empty_directories_are_rejected(self, tmp_path: Path):
        for name in ("a.yaml", "b.yaml"):
            (tmp_path / name).write_text(GOOD)
        with pytest.raises(DocumentError, match="two playbooks have the name 'mine'"):
            load_playbooks(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(DocumentError, match="contains no IncidentPlaybook"):
            load_playbooks(tmp_path / "empty")

    def test_find_playbooks_accepts_types_files_directories_and_texts(self, tmp_path: Path):
        file = tmp_path / "mine.yaml"
        file.write_text(GOOD)
        assert find_playbook(str(file)).name == find_playbook(GOOD).name == "mine"
        assert [one.incident_type for one in find_playbooks([file, "traffic_spike"])] == ["my_incident", "traffic_spike"]
        with pytest.raises(ValueError, match="neither a file nor one of the incident types"):
            find_playbook("trafic_spike")
        with pytest.raises(ValueError, match="contains 5 playbooks, not one"):
            find_playbook(Path(shipped_playbook("traffic_spike").file).parent)


def test_fill_parameters_replaces_references():
    given = {"a": [1, 2], "b": "x"}
    assert fill_parameters({"one": "${a}", "two": "<${b}>", "three": ["${b}"], "four": 4}, given) == {
        "one": [1, 2],
        "two": "<x>",
        "three": ["x"],
        "four": 4,
    }
    with pytest.raises(KeyError):
        fill_parameters("${c}", given)


class TestChoosing:
    @pytest.mark.parametrize(
        ("evidence", "expected"),
        [
            ({"slo": "checkout-availability", "status_code": "500"}, IncidentType.MODEL_SERVING_DEGRADATION),
            ({"slo": "p99-latency", "span": "model_inference"}, IncidentType.MODEL_SERVING_DEGRADATION),
            ({"slo": "p99-latency", "span": "feature_fetch", "stale": ["user_features"]}, IncidentType.FEATURE_PIPELINE_FAILURE),
            ({"slo": "feature-freshness"}, IncidentType.FEATURE_PIPELINE_FAILURE),
            ({"slo": "accuracy-weekly", "check_kind": "golden_set"}, IncidentType.ACCURACY_DROP),
            ({"slo": "input-drift", "drifted_columns": ["age", "income"]}, IncidentType.DATA_DRIFT_ALERT),
            (
                {"slo": "availability", "traffic_factor": 4.2, "status_code": 429, "span": "queue_wait"},
                IncidentType.TRAFFIC_SPIKE,
            ),
        ],
    )
    def test_choose_playbook_by_evidence_gives_reasons(self, evidence: dict, expected: IncidentType):
        choice = choose_playbook(self.incident(evidence), shipped_playbooks())
        assert choice.playbook.incident_type == expected, choice
        assert choice.scores[expected] == max(choice.scores.values()) > 0
        assert any("contains" in reason for reason in choice.reasons)
        runners_up = [kind for kind, score in choice.scores.items() if score and kind != expected]
        assert len([reason for reason in choice.reasons if "fits less" in reason]) == len(runners_up)

    def test_choose_playbook_without_matches_says_so(self):
        choice = choose_playbook(self.incident({}), shipped_playbooks())
        assert "no rule of any playbook matches the evidence" in choice.reasons[0]

    def test_severity_is_the_first_whose_rules_match(self):
        playbook = shipped_playbooks()[0]
        page = choose_playbook(self.incident({"slo": "x"}, "page"), [playbook])
        ticket = choose_playbook(self.incident({"slo": "x"}, "ticket"), [playbook])
        assert (page.severity, ticket.severity) == (Severity.CRITICAL, Severity.HIGH)
        assert page.reasons[-1].startswith("severity critical: the budget burns so fast")

    def test_choose_playbook_from_no_playbooks_is_an_error(self):
        with pytest.raises(ValueError, match="no playbook"):
            choose_playbook(self.incident({}), [])

    def incident(self, evidence: dict, severity: str = "page") -> Incident:
        return Incident(id="x", subject=evidence.get("slo", ""), severity=severity, evidence=evidence)


def test_original_api_names_still_work():
    names: Sequence[str] = [one.name for one in IncidentType]
    assert names == [
        "MODEL_SERVING_DEGRADATION",
        "FEATURE_PIPELINE_FAILURE",
        "ACCURACY_DROP",
        "DATA_DRIFT_ALERT",
        "TRAFFIC_SPIKE",
    ]


def test_documented_playbook_is_valid():
    text = (REPO / "docs" / "incidents.md").read_text()
    (document,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (playbook,) = load_playbooks(document)
    assert playbook.step("switch").after == ("ask",)
    for name in IncidentType:
        assert f"`{name}`" in text
