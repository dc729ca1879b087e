"""Encode requests to model servers and decode their answers; an unexpected answer is an error, never a missing row."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

PROTOCOLS = ("oip_v2", "mlflow", "json")


class WrongAnswer(Exception):
    """The server's answer does not have the requested form."""


@dataclass(frozen=True)
class Protocol:
    """Encoding of requests and decoding of answers.

    :param encode: from rows of features to the body of a request
    :param decode: from the body of an answer and the number of rows to (predictions, scores or None), each a list of that length
    """

    encode: Callable[[pd.DataFrame], Any]
    decode: Callable[[Any, int], tuple[list[Any], list[Any] | None]]


def make_protocol(
    name: str, *, request: Any = None, response: str | None = None, score: str | None = None, output: str | None = None
) -> Protocol:
    """Return a protocol by its name.

    :param name: one of :data:`PROTOCOLS`
    :param request: template of the body of a ``json`` request
    :param response: path of the predictions in a ``json`` answer
    :param score: path of the scores in a ``json`` answer, or name of the ``oip_v2`` output that holds them
    :param output: name of the ``oip_v2`` output; by default the first
    """
    if name == "mlflow":
        return Protocol(_mlflow_request, _mlflow_answer)
    if name == "json":
        return Protocol(lambda rows: _fill(request, rows), lambda body, n: _by_path(body, n, response or "$", score))
    return Protocol(_oip_request, lambda body, n: _oip_answer(body, n, output, score))


def _oip_request(rows: pd.DataFrame) -> dict[str, Any]:
    """Encode numeric features as one tensor, other features as one tensor each [Open Inference Protocol v2]."""
    if all(kind.kind in "biuf" for kind in rows.dtypes):
        values = rows.to_numpy(dtype="float64")
        tensor = {"name": "predict", "shape": list(values.shape), "datatype": "FP64", "data": values.ravel().tolist()}
        return {"inputs": [tensor]}
    inputs = []
    for name in rows.columns:
        column = rows[name]
        number = column.dtype.kind in "biuf"
        data = column.astype("float64").tolist() if number else [str(value) for value in column]
        inputs.append({"name": str(name), "shape": [len(rows), 1], "datatype": "FP64" if number else "BYTES", "data": data})
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


def _oip_answer(body: Any, n: int, output: str | None, score: str | None) -> tuple[list[Any], list[Any] | None]:
    outputs = body.get("outputs") if isinstance(body, dict) else None
    if not isinstance(outputs, list) or not outputs or not all(isinstance(one, dict) for one in outputs):
        raise WrongAnswer("the answer has no outputs")
    named = {str(one.get("name")): one for one in outputs}

    def tensor(name: str | None) -> list[Any]:
        if name is not None and name not in named:
            raise WrongAnswer(f"the answer has no output {name!r}; it has {', '.join(named)}")
        found = outputs[0] if name is None else named[name]
        shape, data = found.get("shape"), found.get("data")
        if (
            not isinstance(shape, list)
            or not isinstance(data, list)
            or not shape
            or not all(isinstance(one, int) for one in shape)
        ):
            raise WrongAnswer("an output has no shape or no data")
        flat = _flat(data)
        if shape[0] != n or math.prod(shape) != len(flat):
            raise WrongAnswer(f"an output of shape {shape} with {len(flat)} values for {n} rows")
        width = math.prod(shape[1:])
        return flat if width == 1 else [flat[start : start + width] for start in range(0, len(flat), width)]

    return tensor(output), None if score is None else tensor(score)


def _flat(data: list[Any]) -> list[Any]:
    while data and isinstance(data[0], list):
        data = [one for part in data for one in (part if isinstance(part, list) else [part])]
    return data


def _mlflow_request(rows: pd.DataFrame) -> dict[str, Any]:
    return {"dataframe_split": {"columns": [str(name) for name in rows.columns], "data": _plain(rows)}}


def _mlflow_answer(body: Any, n: int) -> tuple[list[Any], list[Any] | None]:
    found = body.get("predictions") if isinstance(body, dict) else None
    if isinstance(found, dict) and len(found) == 1:
        found = next(iter(found.values()))
    if isinstance(found, list) and found and isinstance(found[0], dict) and len(found[0]) == 1:
        found = [next(iter(one.values())) for one in found]
    return _counted(found, n, "predictions"), None


def _counted(found: Any, n: int, what: str) -> list[Any]:
    if not isinstance(found, list):
        raise WrongAnswer(f"the answer has no list of {what}")
    if len(found) != n:
        raise WrongAnswer(f"{len(found)} {what} for {n} rows")
    return found


def _plain(rows: pd.DataFrame) -> list[list[Any]]:
    """Return rows as JSON values; NaN becomes null."""
    return [[None if value != value else value for value in row] for row in rows.astype(object).to_numpy().tolist()]


def _fill(template: Any, rows: pd.DataFrame) -> Any:
    """Replace the placeholders of a template by the features."""
    if isinstance(template, dict):
        return {key: _fill(value, rows) for key, value in template.items()}
    if isinstance(template, list):
        return [_fill(value, rows) for value in template]
    if template in ("$records", "$record", "$rows", "$row"):
        names = [str(name) for name in rows.columns]
        made = [dict(zip(names, row, strict=True)) if "record" in template else row for row in _plain(rows)]
        return made if template.endswith("s") else made[0]
    return template


_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]|\[(\*|[0-9]+)\]")


def parse_path(path: str) -> list[str | int]:
    """Parse the subset of JSONPath for locations: ``$``, ``.key``, ``['key']``, ``[0]``, ``[*]``.

    :raises ValueError: for anything else
    """
    if not path.startswith("$"):
        raise ValueError(f"{path!r} is no path; it starts with $, e.g. $.predictions[*].score")
    steps: list[str | int] = []
    place = 1
    while place < len(path):
        step = _STEP.match(path, place)
        if not step:
            raise ValueError(f"{path!r}: {path[place:]!r} is not understood; write .key, ['key'], [0] or [*]")
        steps.append(step[1] or step[2] or (step[3] if step[3] == "*" else int(step[3])))
        place = step.end()
    return steps


def _by_path(body: Any, n: int, response: str, score: str | None) -> tuple[list[Any], list[Any] | None]:
    def at(path: str) -> list[Any]:
        found, many = [body], False
        for step in parse_path(path):
            if step == "*":
                many = True
                if not all(isinstance(one, list) for one in found):
                    raise WrongAnswer(f"there is no list where {path} says")
                found = [item for one in found for item in one]
                continue
            try:
                found = [one[step] for one in found]
            except (KeyError, IndexError, TypeError):
                raise WrongAnswer(f"there is nothing at {path}") from None
        if not many and n == 1 and not isinstance(found[0], list):
            return found
        return _counted(found if many else found[0], n, f"values at {path}")

    return at(response), None if score is None else at(score)
