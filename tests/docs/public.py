"""List the public classes: operators, sensors, task groups, triggers of watchers, the notifier."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from inspect import isclass

from airflow_slo_provider.get_provider_info import get_provider_info

_ENDINGS = ("Operator", "Sensor", "TaskGroup")


@cache
def public_classes() -> dict[str, type]:
    """Return the public classes by name."""
    info, found = get_provider_info(), {}
    for module in (
        import_module(name) for part in ("operators", "sensors") for one in info[part] for name in one["python-modules"]
    ):
        for name in getattr(module, "__all__", vars(module)):
            thing = getattr(module, name)
            own = hasattr(module, "__all__") or getattr(thing, "__module__", "") == module.__name__
            if isclass(thing) and own and not name.startswith("_") and name.endswith(_ENDINGS):
                found[name] = thing
    watching = import_module("airflow_slo_provider.triggers.burn_rate")
    found |= {name: getattr(watching, name) for name in ("BurnRateTrigger", "AlertmanagerTrigger")}
    for path in info["notifications"]:
        module_name, _, name = path.rpartition(".")
        found[name] = getattr(import_module(module_name), name)
    return found


def public_names() -> list[str]:
    """Return their names."""
    return sorted(public_classes())
