"""Detect arguments that were set in the DAG but render to None or an empty string at run time.

Airflow resolves ``task.output`` to None if that task pushed nothing, and a template of nothing renders to an empty text or
"None". For an operator, None means "not set": a condition that was written in the DAG would silently not be checked. A number
from an XCom is not a version either: a registry with text keys does not find it.

Airflow creates the operator of a mapped task at run time from resolved values, where None may come from an XCom. Therefore
every argument written in ``partial``, ``expand`` or ``expand_kwargs`` counts as set, whatever its value.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

from airflow_slo_provider.core.text_lists import text_list


@dataclass(frozen=True)
class SetInDag:
    """The arguments that may be set on an operator.

    :param names: the parameters
    :param nonempty: those that were not empty when the operator was created
    """

    names: frozenset[str]
    nonempty: frozenset[str]

    def __or__(self, other: SetInDag) -> SetInDag:
        return SetInDag(self.names | other.names, self.nonempty | other.nonempty)

    def of(self, operator: Any) -> frozenset[str]:
        """Return the parameters that were set on an operator. Call it at run time, because Airflow does not know it earlier.

        :param operator: the operator for which this was created, or a copy
        """
        if not getattr(operator, "_BaseOperator__from_mapped", False):
            return self.nonempty
        return self.nonempty | (self.names & set(operator._BaseOperator__init_kwargs))


def set_in_dag(operator: Any, *names: str) -> SetInDag:
    """Find which of these parameters are set on an operator; call it in ``__init__`` and keep the result.

    :param operator: the operator, with attributes of these names
    :param names: names of the parameters
    """
    # Missing attributes are not set: a subclass sets its own fields after the base class.
    return SetInDag(frozenset(names), frozenset(name for name in names if not _is_empty(getattr(operator, name, None))))


#: For operators without such parameters.
NO_PARAMETERS = SetInDag(frozenset(), frozenset())


def require(operator: Any, parameters: SetInDag = NO_PARAMETERS, *, may_be_empty: Collection[str] = ()) -> None:
    """Fail without a retry if a parameter that was set renders to nothing, or is not text where it must be.

    Numbers become text in the ``text_fields``, ``list_fields`` and ``mapping_fields`` of an operator
    (:class:`airflow_slo_provider.operators.text_template_fields.TextFields`), and a single text becomes a list in its
    ``list_fields``. Relative paths in its ``path_fields`` start at the folder of the DAG file.

    :param operator: the operator, after its templates were rendered
    :param parameters: the result of :func:`set_in_dag`
    :param may_be_empty: parameters for which an empty text is valid
    :raises AirflowFailException: naming the parameter
    """
    for name in sorted(parameters.of(operator)):
        value = getattr(operator, name)
        if _is_empty(value) and not (value == "" and name in may_be_empty):
            _fail(
                f"{name} is set in the DAG and is {value!r} when the task runs: its XCom is missing, or its template rendered to "
                "nothing. The task does not continue without it; check where it comes from"
            )
    if getattr(operator, "path_fields", ()):
        from airflow_slo_provider.exceptions import DocumentError
        from airflow_slo_provider.runtime.files.documents import resolve_paths

        for name in sorted(operator.path_fields):
            try:
                setattr(operator, name, resolve_paths(getattr(operator, name), operator.dag.folder))
            except DocumentError as error:
                _fail(str(error))
    for fields, convert in (("text_fields", _text), ("list_fields", _texts), ("mapping_fields", _mapping)):
        for name in sorted(getattr(operator, fields, ())):
            value = getattr(operator, name, None)
            if value is not None and not callable(value):  # a callable is a selection function instead of names
                setattr(operator, name, convert(name, value))


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return str(value)
    number = isinstance(value, Real | Decimal) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        _fail(f"{name} is {repr(value)[:200]}, a {type(value).__name__}: write a text, or check its template or XCom")
    return str(value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        _fail(
            f"{name} is the text of a list or mapping, {value[:200]!r}: pass the XCom itself (task.output), "
            "or set render_template_as_native_obj=True"
        )
    if isinstance(value, Mapping | bytes) or not isinstance(value, Real | Iterable):
        _fail(f"{name} is {repr(value)[:200]}, a {type(value).__name__}: write a text, or a list of texts")
    return tuple(_text(name, item) for item in text_list((value,) if isinstance(value, Real) else value))


def _mapping(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        _fail(f"{name} is {repr(value)[:200]}, a {type(value).__name__}: write a mapping of texts")
    return {_text(name, key): _text(f"{name}[{key!r}]", item) for key, item in value.items()}


def _fail(message: str) -> Any:
    from airflow.sdk.exceptions import AirflowFailException

    raise AirflowFailException(message)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value in ("", "None"))
