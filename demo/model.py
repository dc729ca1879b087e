"""Train a classifier on a real data set: 569 breast tumours, measured by the University of Wisconsin, inside scikit-learn."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# The same rows are held out in the DAG, the demo and the server.
HELD_OUT = {"test_size": 0.3, "random_state": 7}


def train(directory: Path, *, version: str, regularisation: float = 1.0, members: int = 1) -> dict[str, Any]:
    """Train a model and write ``model.joblib`` and ``model.json`` into ``directory``.

    :param version: the model's version, as it appears in the prediction log
    :param regularisation: inverse strength of the L2 penalty
    :param members: models that vote; with many of them a prediction takes longer
    :return: the content of ``model.json``: version, accuracy on the held-out rows, feature names
    """
    import joblib
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    rows, unseen, labels, truth = train_test_split(data.data, data.target, stratify=data.target, **HELD_OUT)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=1000))
    if members > 1:
        from sklearn.ensemble import BaggingClassifier

        model = BaggingClassifier(model, n_estimators=members, random_state=7)
    model.fit(rows, labels)
    directory.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, directory / "model.joblib")
    card = {
        "version": version,
        "accuracy": round(float(model.score(unseen, truth)), 4),
        "features": [str(name) for name in data.feature_names],
        "classes": [str(name) for name in data.target_names],
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (directory / "model.json").write_text(json.dumps(card, indent=2) + "\n")
    return card


def measured_rows() -> list[dict[str, float]]:
    """Return all 569 rows as requests to the server: feature name -> measured value."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    names = [str(name) for name in data.feature_names]
    return [dict(zip(names, map(float, row), strict=True)) for row in data.data]


def main() -> None:
    parser = argparse.ArgumentParser(description="train the demo's model")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--version", default="1")
    parser.add_argument("--regularisation", type=float, default=1.0)
    parser.add_argument("--members", type=int, default=1, help="models that vote: more of them are slower")
    options = parser.parse_args()
    card = train(options.directory, version=options.version, regularisation=options.regularisation, members=options.members)
    print(json.dumps(card))


if __name__ == "__main__":
    main()
