"""A contract of Import Linter: no modules import each other in a circle.

Imports inside functions and under ``TYPE_CHECKING`` count: a circle that they hide ties the modules all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from importlinter import Contract, ContractCheck, output


class NoCircles(Contract):
    """No module of the root package leads back to itself."""

    type_name = "no_circles"

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Look for circles.

        :param graph: of all imports
        """
        root = self.session_options["root_packages"][0]
        modules = {name for name in graph.modules if name == root or name.startswith(root + ".")}
        imports = {name: graph.find_modules_directly_imported_by(name) & modules for name in modules}
        found = circles(imports)
        return ContractCheck(kept=not found, metadata={"circles": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each circle."""
        for circle in check.metadata["circles"]:
            output.print_error(" -> ".join([*circle, circle[0]]))


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Return one circle for each module that leads back to itself and is in none that was found before.

    :param imports: what each module imports
    """
    found: list[list[str]] = []
    seen: set[str] = set()
    for start in sorted(imports):
        if start in seen:
            continue
        way_to: dict[str, str] = {}
        waiting = [start]
        while waiting and start not in way_to:
            module = waiting.pop(0)
            for target in sorted(imports.get(module, ())):
                if target not in way_to:
                    way_to[target] = module
                    waiting.append(target)
        if start in way_to:
            circle = [start]
            while way_to[circle[0]] != start:
                circle.insert(0, way_to[circle[0]])
            circle = [start, *circle[:-1]]
            seen.update(circle)
            found.append(circle)
    return found
