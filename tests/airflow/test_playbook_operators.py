"""The operators that the shipped playbooks name."""

from __future__ import annotations

import importlib.util
import inspect

from airflow_slo_provider.incidents import shipped_playbooks


def test_playbook_operators_accept_their_parameters():
    for playbook in shipped_playbooks():
        for step in playbook.steps:
            module, _, name = step.target.rpartition(".")
            if step.kind != "operator" or not module:
                continue
            if importlib.util.find_spec(module) is None:  # a part that is not installed
                assert module.startswith("airflow_slo_provider.operators.")
                continue
            found = getattr(importlib.import_module(module), name)
            known = {key for base in found.__mro__ for key in inspect.signature(base.__init__).parameters}
            assert set(step.arguments) <= known, (playbook.name, step.id)
