"""Read the body of an answer: bounded by what it is after decompression, and whole or an error.

A compressed answer is decompressed in small steps, so that its size is known before its bytes are: nine kilobytes can hold ten
megabytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from airflow_slo_provider.http.faults import HEADERS_TOO_LARGE, BrokenOff

_STEP = 1 << 18
#: zlib and gzip, whichever the header of the data says.
_ANY_HEADER = 47
#: The headers of an answer that are read at most: what the standard library's client has.
_HEADERS, _LONGEST_HEADER = 100, 1 << 16


class TooLarge(Exception):
    """The body is larger than it may be."""


class UnknownEncoding(Exception):
    """The body is compressed in a way that was not asked for."""


class Body:
    """Collects a body as it arrives.

    :param headers: of the answer; names in any case, where the mapping knows how
    :param max_bytes: of the body after decompression
    :raises UnknownEncoding: for a ``Content-Encoding`` other than gzip, deflate and identity
    :raises TooLarge: for headers that requests does not take either
    """

    def __init__(self, headers: Mapping[str, str], max_bytes: int) -> None:
        if len(headers) > _HEADERS or any(len(text) > _LONGEST_HEADER for text in headers.values()):
            raise TooLarge(HEADERS_TOO_LARGE)
        encoding = str(headers.get("Content-Encoding") or "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise UnknownEncoding(f"the answer has Content-Encoding {encoding[:40]!r}, which was not asked for")
        self._decoder = None if encoding == "identity" else zlib.decompressobj(_ANY_HEADER)
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self.size = 0

    def feed(self, part: bytes) -> None:
        """Take the next bytes off the wire.

        :raises TooLarge: when the body has become larger than it may be
        :raises BrokenOff: when they cannot be decompressed
        """
        if self._decoder is None:
            self._take(part)
            return
        try:
            while part:
                self._take(self._decoder.decompress(part, _STEP))
                part = self._decoder.unconsumed_tail
                if self._decoder.eof:
                    part = self._decoder.unused_data
                    if part:  # gzip members may follow one another
                        self._decoder = zlib.decompressobj(_ANY_HEADER)
        except zlib.error:
            raise BrokenOff(f"the answer cannot be decompressed after {self.size} bytes") from None

    def whole(self) -> bytes:
        """Return the body, once everything has arrived.

        :raises BrokenOff: when the compressed data has no end
        """
        if self._decoder is not None and self._parts and not self._decoder.eof:
            raise BrokenOff(f"the answer broke off after {self.size} bytes")
        return b"".join(self._parts)

    def _take(self, data: bytes) -> None:
        self._parts.append(data)
        self.size += len(data)
        if self.size > self._max_bytes:
            raise TooLarge(f"the answer is larger than {self._max_bytes} bytes")
