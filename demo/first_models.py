"""Train the first models of docker-compose.yaml: version 1 is the champion in the registry, version 2 the candidate.

Existing models are kept, so that a restart of the stack reverts no promotion.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from airflow_slo_provider.deployment import DirectoryRegistry
from airflow_slo_provider.deployment.registries.names import CHAMPION, PROMOTE
from airflow_slo_provider.deployment.registries.registry import MoveRequest
from demo import model

NAME = "tumour-classifier"


def make(registry: Path, candidate: Path) -> None:
    """Train missing models.

    :param registry: directory of the model registry
    :param candidate: directory of the candidate
    """
    models = DirectoryRegistry(registry)
    if models.alias(NAME, CHAMPION) is None:
        with TemporaryDirectory() as directory:
            model.train(Path(directory), version="1")
            models.register(NAME, "1", Path(directory))
        models.move(NAME, MoveRequest(kind=PROMOTE, alias=CHAMPION, key="first-models", to="1", by="demo"))
    if not (candidate / "model.json").exists():
        model.train(candidate, version="2", regularisation=0.1)
    print(f"the champion is version {models.alias(NAME, CHAMPION)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="train the first champion and its candidate")
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--candidate", type=Path, required=True)
    options = parser.parse_args()
    make(options.registry, options.candidate)


if __name__ == "__main__":
    main()
