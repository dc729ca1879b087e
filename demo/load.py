"""Send real rows to the model server and count its responses. Standard library only, except for the rows."""

from __future__ import annotations

import argparse
import http.client
import json
import time
import urllib.parse
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor


def send(
    url: str, rows: Sequence[Mapping[str, float]], *, passes: int = 1, workers: int = 2, rate: float | None = None
) -> Counter[int]:
    """Request a prediction of each row, ``passes`` times.

    :param url: the server's address
    :param workers: number of concurrent connections
    :param rate: requests per second, over all connections; None for no limit
    :return: number of responses by HTTP status
    :raises OSError: if the server cannot be reached
    """
    parts = [list(rows)[start::workers] * passes for start in range(workers)]
    pause = workers / rate if rate else 0.0
    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(lambda part: _send(url, part, pause), parts), Counter())


def _send(url: str, rows: Sequence[Mapping[str, float]], pause: float) -> Counter[int]:
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    answers: Counter[int] = Counter()
    try:
        for row in rows:
            connection.request("POST", "/predict", json.dumps({"features": row}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            answers[answer.status] += 1
            time.sleep(pause)
    finally:
        connection.close()
    return answers


def main() -> None:
    from demo.model import measured_rows

    parser = argparse.ArgumentParser(description="send real rows to model servers")
    parser.add_argument("urls", nargs="+", metavar="URL")
    parser.add_argument("--passes", type=int, default=1, help="number of times that all 569 rows are sent")
    parser.add_argument("--forever", action="store_true", help="repeat until stopped")
    parser.add_argument("--rate", type=float, default=20, help="requests per second, to each server")
    options = parser.parse_args()
    rows = measured_rows()

    def send_repeatedly(url: str) -> None:
        while True:
            try:
                print(url, dict(send(url, rows, passes=options.passes, rate=options.rate)), flush=True)
            except (OSError, http.client.HTTPException) as error:
                if not options.forever:
                    raise
                print(f"{url}: {error}; trying again", flush=True)
                time.sleep(2)
            if not options.forever:
                return

    with ThreadPoolExecutor(len(options.urls)) as pool:
        list(pool.map(send_repeatedly, options.urls))


if __name__ == "__main__":
    main()
