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


class Choice:
    """Wrap a function that selects SLOs for a templated field, because Airflow would call a bare function with a context.

    Rendering returns the function. Unlike that of a function, its text is the same in every process; a DAG whose text changes
    gets a new version each time it is parsed.

    :param choose: returns whether an SLO is selected
    """

    def __init__(self, choose: Callable[[SLO], bool]) -> None:
        self._choose = choose

    def __repr__(self) -> str:
        named = self._choose if hasattr(self._choose, "__qualname__") else type(self._choose)
        return f"<{named.__module__}.{named.__qualname__}>"

    def resolve(self, context: Any) -> Callable[[SLO], bool]:
        """Return the function; Airflow calls this method to render the field."""
        return self._choose


class DocumentFields(TextFields):
    """Base class of operators with the parameters ``slos`` and ``select``.

    :param slos: SLO documents: a path (a relative path starts at the folder of the DAG file), a URI, the text itself, or a
        list. (templated)
    :param select: names of the SLOs to evaluate, or a function that selects them; all by default. (templated)
    :raises ValueError: for empty ``slos``
    """

    template_fields: Sequence[str] = ("slos", "select")
    list_fields = frozenset({"select"})
    path_fields = frozenset({"slos"})
    ui_color = "#d7eadb"
    operator_extra_links = (SLOLink(),)

    def __init__(self, *, slos: Documents, select: Selection | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(slos, str | list | tuple) and not slos:
            raise ValueError(f"{self.task_id}: slos is empty; name a file, a directory or write the documents themselves")
        self.slos = slos
        self.select = Choice(select) if callable(select) else select
        self._set_in_dag = set_in_dag(self, "slos", "select")

    def render_template(self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None) -> Any:
        """Render everything except the text of documents, where ``{{.window}}`` belongs to the query and not to Airflow."""
        if isinstance(content, str) and "\n" in content:
            return content
        return super().render_template(content, context, jinja_env, seen_oids)
