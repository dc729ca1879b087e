"""Write samples and native histograms to a Prometheus server by remote write, which promtool cannot load from text.

Format: https://prometheus.io/docs/specs/prw/remote_write_spec/ (protobuf, in one uncompressed chunk of snappy).
"""

from __future__ import annotations

import struct
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class NativeHistogram:
    """A histogram of schema 0: bucket i counts the observations in (2^(i-1), 2^i].

    :param buckets: counts of neighbouring buckets
    :param first: index of the first one
    """

    buckets: tuple[int, ...]
    first: int
    total: float = 0.0


#: Labels (``__name__`` among them), and values by unix seconds.
Series = tuple[Mapping[str, str], Mapping[int, float | NativeHistogram]]


def send(url: str, series: Iterable[Series]) -> None:
    """Write series. The first sample must be the oldest one: the server refuses samples that are an hour older.

    :param url: base URL of the server
    :param series: labels and samples
    """
    body = b"".join(_field(1, _series(labels, values)) for labels, values in series)
    packed = _varint(len(body)) + bytes([63 << 2]) + struct.pack("<I", len(body) - 1) + body
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"{url}/api/v1/write", packed, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status // 100 == 2


def _series(labels: Mapping[str, str], values: Mapping[int, float | NativeHistogram]) -> bytes:
    pairs = b"".join(_field(1, _field(1, name.encode()) + _field(2, labels[name].encode())) for name in sorted(labels))
    return pairs + b"".join(_sample(value, time * 1000) for time, value in values.items())


def _sample(value: float | NativeHistogram, milliseconds: int) -> bytes:
    if isinstance(value, NativeHistogram):
        return _field(4, _histogram(value, milliseconds))
    return _field(2, _double(1, value) + _number(2, milliseconds))


def _histogram(value: NativeHistogram, milliseconds: int) -> bytes:
    deltas = [count - before for count, before in zip(value.buckets, (0, *value.buckets), strict=False)]
    span = _number(1, _zigzag(value.first)) + _number(2, len(value.buckets))
    return (
        _number(1, sum(value.buckets))
        + _double(3, value.total)
        + _double(5, 2.0**-128)
        + _field(11, span)
        + _field(12, b"".join(_varint(_zigzag(delta)) for delta in deltas))
        + _number(15, milliseconds)
    )


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
