"""Template fields that hold texts, whatever the DAG renders its templates as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class TextFields(BaseOperator):
    """An operator some of whose template fields are texts.

    With ``render_template_as_native_obj=True`` Airflow makes the number 3.1 of a template that gave the text ``3.10``: another
    version, and no text. Fields of these names are rendered as text. What an XCom brings is made a text by
    :func:`airflow_slo_provider.runtime.required_parameters.require`, which every ``execute`` begins with.
    """

    #: Names of fields that are one text each.
    text_fields: ClassVar[frozenset[str]] = frozenset()
    #: Names of fields that are a text or several.
    list_fields: ClassVar[frozenset[str]] = frozenset()
    #: Names of fields that are texts by name.
    mapping_fields: ClassVar[frozenset[str]] = frozenset()
    #: Names of fields that are paths of documents, or the documents themselves.
    path_fields: ClassVar[frozenset[str]] = frozenset()

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        """Render, and texts as texts. Airflow calls this for a mapped task too, unlike ``render_template_fields``."""
        names = list(template_fields)
        dag = self.get_dag()
        native = self.render_template_as_native_obj
        texts = [name for name in names if parent is self and self._is_text(name)]
        if not texts or dag is None or not (dag.render_template_as_native_obj if native is None else native):
            super()._do_render_template_fields(parent, names, context, jinja_env, seen_oids)
            return
        written = {name: getattr(self, name) for name in texts}
        self.render_template_as_native_obj = False
        try:
            env = dag.get_template_env(force_sandboxed=True)
            super()._do_render_template_fields(parent, texts, context, env, seen_oids)
        finally:
            self.render_template_as_native_obj = native
        lists = [name for name in texts if name not in self.text_fields and _is_a_list(getattr(self, name))]
        for name in lists:
            setattr(self, name, written[name])
        rest = [name for name in names if name not in texts or name in lists]
        super()._do_render_template_fields(parent, rest, context, jinja_env, seen_oids)

    def _is_text(self, name: str) -> bool:
        """Whether a field holds templates of texts, and not one of a whole mapping or an XCom."""
        value = getattr(self, name, None)
        if name in self.text_fields:
            return isinstance(value, str)
        if name in self.list_fields:
            return isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(one, str) for one in value))
        if name in self.mapping_fields:
            return isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values())
        return False


def _is_a_list(value: Any) -> bool:
    """Whether the text of a field for several texts is that of a list."""
    return isinstance(value, str) and value.strip()[:1] in ("[", "(", "{")
