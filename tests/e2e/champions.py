"""Several champion servers in one process, one for each service: ``python -m tests.e2e.champions DIRECTORY service=port ...``."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from demo.champion_server import ChampionServer
from demo.model_server import PredictionLog


def main() -> None:
    home = Path(sys.argv[1])
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    for argument in sys.argv[2:]:
        service, _, port = argument.partition("=")
        server = ChampionServer(("127.0.0.1", int(port)), home / service, PredictionLog(home / f"{service}.db"))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    print("serving", flush=True)
    over.wait()


if __name__ == "__main__":
    main()
