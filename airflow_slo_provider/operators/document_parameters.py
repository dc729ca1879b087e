"""Parameters shared by the operators and sensors that read SLO documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.links.slo import SLOLink
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.required_parameters import set_in_dag

if TYPE_CHECKING:
    from airflow_slo_provider.runtime.error_budget.decision import Documents
    from airflow_slo_provider.slo.catalog import Selection
    from airflow_slo_provider.slo.model import SLO


class SelectionFunction:
    """Wrap a function that selects SLOs for a templated field, because Airflow would call a bare function with a context.

    Rendering returns the function. Unlike that of a function, its text is the same in every process; a DAG whose text changes
    gets a new version each time it is parsed.

    :param select: returns whether an SLO is selected
    """

    def __init__(self, select: Callable[[SLO], bool]) -> None:
        self._select = select

    def __repr__(self) -> str:
        named = self._select if hasattr(self._select, "__qualname__") else type(self._select)
        return f"<{named.__module__}.{named.__qualname__}>"

    def resolve(self, context: Any) -> Callable[[SLO], bool]:
        """Return the function; Airflow calls this method to render the field."""
        return self._select


class RequiredDocuments(TextFields):
    """Base class of operators with the parameter ``slos``.

    :param slos: SLO documents: a path (a relative path starts at the folder of the DAG file), a URI, the text itself, or a
        list. (templated)
    :raises ValueError: for empty ``slos``
    """

    template_fields: Sequence[str] = ("slos",)
    path_fields = frozenset({"slos"})

    def __init__(self, *, slos: Documents, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(slos, str | list | tuple) and not slos:
            raise ValueError(f"{self.task_id}: slos is empty; name a file, a directory or write the documents themselves")
        self.slos = slos
        self._set_in_dag = set_in_dag(self, "slos")


class DocumentFields(RequiredDocuments):
    """Base class of operators with the parameters ``slos`` and ``select``.

    :param slos: SLO documents: a path (a relative path starts at the folder of the DAG file), a URI, the text itself, or a
        list. (templated)
    :param select: names of the SLOs to evaluate, or a function that selects them; all by default. (templated)
    :raises ValueError: for empty ``slos``
    """

    template_fields: Sequence[str] = ("slos", "select")
    list_fields = frozenset({"select"})
    ui_color = "#d7eadb"
    operator_extra_links = (SLOLink(),)

    def __init__(self, *, slos: Documents, select: Selection | None = None, **kwargs: Any) -> None:
        super().__init__(slos=slos, **kwargs)
        self.select = SelectionFunction(select) if callable(select) else select
        self._set_in_dag |= set_in_dag(self, "select")
