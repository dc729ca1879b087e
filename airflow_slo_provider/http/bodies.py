"""Read the body of an HTTP answer, limited by its size after decompression; an incomplete body is an error.

A compressed answer is decompressed in small steps, so that the limit applies before the memory is used: nine kilobytes can hold
ten megabytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from airflow_slo_provider.http.faults import HEADERS_TOO_LARGE, AnswerTooLarge, TruncatedAnswer, UnknownEncoding

_STEP = 1 << 18
#: zlib and gzip, detected from the header of the data.
_ANY_HEADER = 47
#: Maximum number and length of headers: the limits of the standard library's client.
_HEADERS, _LONGEST_HEADER = 100, 1 << 16


class Body:
    """Collect a body as it arrives.

    :param headers: headers of the answer; case-insensitive if the mapping is
    :param max_bytes: maximum size of the body after decompression
    :raises UnknownEncoding: for a ``Content-Encoding`` other than gzip, deflate and identity
    :raises AnswerTooLarge: for more headers, or longer ones, than requests accepts
    """

    def __init__(self, headers: Mapping[str, str], max_bytes: int) -> None:
        if len(headers) > _HEADERS or any(len(text) > _LONGEST_HEADER for text in headers.values()):
            raise AnswerTooLarge(HEADERS_TOO_LARGE)
        encoding = str(headers.get("Content-Encoding") or "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise UnknownEncoding(f"the answer has Content-Encoding {encoding[:40]!r}, which was not requested")
        self._decoder = None if encoding == "identity" else zlib.decompressobj(_ANY_HEADER)
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self.size = 0

    def feed(self, part: bytes) -> None:
        """Add the next bytes from the connection.

        :param part: the bytes, compressed as they were sent
        :raises AnswerTooLarge: when the body exceeds the limit
        :raises TruncatedAnswer: when the bytes cannot be decompressed
        """
        if self._decoder is None:
            self._append(part)
            return
        try:
            while part:
                self._append(self._decoder.decompress(part, _STEP))
                part = self._decoder.unconsumed_tail
                if self._decoder.eof:
                    part = self._decoder.unused_data
                    if part:  # gzip members may follow one another
                        self._decoder = zlib.decompressobj(_ANY_HEADER)
        except zlib.error:
            raise TruncatedAnswer(f"the answer cannot be decompressed after {self.size} bytes") from None

    def content(self) -> bytes:
        """Return the body after everything has arrived.

        :raises TruncatedAnswer: when the compressed data is incomplete
        """
        if self._decoder is not None and self._parts and not self._decoder.eof:
            raise TruncatedAnswer(f"the answer broke off after {self.size} bytes")
        return b"".join(self._parts)

    def _append(self, data: bytes) -> None:
        self._parts.append(data)
        self.size += len(data)
        if self.size > self._max_bytes:
            raise AnswerTooLarge(f"the answer is larger than {self._max_bytes} bytes")
