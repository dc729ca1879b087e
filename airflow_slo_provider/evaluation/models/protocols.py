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
        return Protocol(_encode_mlflow, _decode_mlflow)
    if name == "json":
        return Protocol(lambda rows: _fill(request, rows), lambda body, n: _decode_by_path(body, n, response or "$", score))
    return Protocol(_encode_oip, lambda body, n: _decode_oip(body, n, output, score))


def _encode_oip(rows: pd.DataFrame) -> dict[str, Any]:
    """Encode numeric features as one tensor, other features as one tensor each [Open Inference Protocol v2]."""
    if all(kind.kind in "biuf" for kind in rows.dtypes):
        values = rows.to_numpy(dtype="float64")
        tensor = {"name": "predict", "shape": list(values.shape), "datatype": "FP64", "data": values.ravel().tolist()}
        return {"inputs": [tensor]}
    inputs = []
    for name, column in rows.items():
        number = column.dtype.kind in "biuf"
        data = column.astype("float64").tolist() if number else [str(value) for value in column]
        inputs.append({"name": str(name), "shape": [len(rows), 1], "datatype": "FP64" if number else "BYTES", "data": data})
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


def _decode_oip(body: Any, n: int, prediction: str | None, score: str | None) -> tuple[list[Any], list[Any] | None]:
    outputs = body.get("outputs") if isinstance(body, dict) else None
    if not isinstance(outputs, list) or not outputs or not all(isinstance(output, dict) for output in outputs):
        raise WrongAnswer("the answer has no outputs")
    named = {str(output.get("name")): output for output in outputs}

    def read_tensor(name: str | None) -> list[Any]:
        if name is not None and name not in named:
            raise WrongAnswer(f"the answer has no output {name!r}; it has {', '.join(named)}")
        tensor = outputs[0] if name is None else named[name]
        shape, data = tensor.get("shape"), tensor.get("data")
        lists = isinstance(shape, list) and isinstance(data, list)
        if not lists or not shape or not all(isinstance(size, int) for size in shape):
            raise WrongAnswer("an output has no shape or no data")
        flat = _flatten(data)
        if shape[0] != n or math.prod(shape) != len(flat):
            raise WrongAnswer(f"an output of shape {shape} with {len(flat)} values for {n} rows")
        width = math.prod(shape[1:])
        return flat if width == 1 else [flat[start : start + width] for start in range(0, len(flat), width)]

    return read_tensor(prediction), None if score is None else read_tensor(score)


def _flatten(data: list[Any]) -> list[Any]:
    while data and isinstance(data[0], list):
        data = [value for part in data for value in (part if isinstance(part, list) else [part])]
    return data


def _encode_mlflow(rows: pd.DataFrame) -> dict[str, Any]:
    return {"dataframe_split": {"columns": [str(name) for name in rows.columns], "data": _to_json_rows(rows)}}


def _decode_mlflow(body: Any, n: int) -> tuple[list[Any], list[Any] | None]:
    values = body.get("predictions") if isinstance(body, dict) else None
    if isinstance(values, dict) and len(values) == 1:
        (values,) = values.values()
    if isinstance(values, list) and values and isinstance(values[0], dict) and len(values[0]) == 1:
        values = [next(iter(row.values())) for row in values]
    return _check_count(values, n, "predictions"), None


def _check_count(values: Any, n: int, what: str) -> list[Any]:
    if not isinstance(values, list):
        raise WrongAnswer(f"the answer has no list of {what}")
    if len(values) != n:
        raise WrongAnswer(f"{len(values)} {what} for {n} rows")
    return values


def _to_json_rows(rows: pd.DataFrame) -> list[list[Any]]:
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
        filled = [dict(zip(names, row, strict=True)) if "record" in template else row for row in _to_json_rows(rows)]
        return filled if template.endswith("s") else filled[0]
    return template


_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]|\[(\*|[0-9]+)\]")


def parse_path(path: str) -> list[str | int]:
    """Parse the subset of JSONPath for locations: ``$``, ``.key``, ``['key']``, ``[0]``, ``[*]``.

    :raises ValueError: for anything else
    """
    if not re.fullmatch(rf"\$({_STEP.pattern})*", path):
        raise ValueError(f"{path!r} is not a path; write $, then .key, ['key'], [0] or [*], e.g. $.predictions[*].score")
    return [key or quoted or (index if index == "*" else int(index)) for key, quoted, index in _STEP.findall(path)]


def _decode_by_path(body: Any, n: int, response: str, score: str | None) -> tuple[list[Any], list[Any] | None]:
    def read_values(path: str) -> list[Any]:
        values, steps = [body], parse_path(path)
        for step in steps:
            try:
                if step != "*":
                    values = [value[step] for value in values]
                elif all(isinstance(value, list) for value in values):
                    values = [item for value in values for item in value]
                else:
                    raise WrongAnswer(f"{path} does not lead to a list")
            except (KeyError, IndexError, TypeError):
                raise WrongAnswer(f"there is nothing at {path}") from None
        if "*" not in steps and n == 1 and not isinstance(values[0], list):
            return values
        return _check_count(values if "*" in steps else values[0], n, f"values at {path}")

    return read_values(response), None if score is None else read_values(score)
