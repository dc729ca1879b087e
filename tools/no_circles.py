"""A contract of Import Linter: no modules import each other in a circle.

Imports inside functions and under ``TYPE_CHECKING`` count, because such modules depend on each other too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from importlinter import Contract, ContractCheck, output


class NoCircles(Contract):
    """No module of the root package imports itself, directly or through others."""

    type_name = "no_circles"

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Find circles.

        :param graph: the graph of all imports
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
    """Return one circle for each module that imports itself through others and is in no circle found before.

    :param imports: the imports of each module
    """
    found: list[list[str]] = []
    seen: set[str] = set()
    for start in sorted(imports):
        if start in seen:
            continue
        imported_by: dict[str, str] = {}
        queue = [start]
        while queue and start not in imported_by:
            module = queue.pop(0)
            for target in sorted(imports.get(module, ())):
                if target not in imported_by:
                    imported_by[target] = module
                    queue.append(target)
        if start in imported_by:
            circle = [start]
            while imported_by[circle[0]] != start:
                circle.insert(0, imported_by[circle[0]])
            circle = [start, *circle[:-1]]
            seen.update(circle)
            found.append(circle)
    return found
