"""Retrain when the data drift or the model is old, and promote the new model only if all checks allow it.

**What it does.** It waits for fresh data, checks for a reason to train, trains, compares with the champion on a golden
set, checks the error budget of the service, sends a share of the requests to the candidate, and promotes it. `scheduled_checks`
updates the two assets that start it; it can also be triggered manually. A run that fails after `canary` promotes nothing and
leaves that alias with the candidate: clear the failed task to continue.

| exit | what it means | the run |
|---|---|---|
| `data_is_stale` | no fresh data in time: the pipeline must be checked | failed |
| `keep_model` | no drift, and the model is recent: nothing to do | success |
| `inspect_data` | drift cannot be judged (too few rows, a changed schema): the data must be checked manually | success |
| `keep_champion` | the candidate is not shown to be as good as the champion | success |
| `hold` | the error budget is spent, or the approval was rejected (no answer counts as a rejection) | success |
| `withdraw` | the canary failed requests, or had too few requests to judge: its alias names the champion again | success |
| `withdraw` fails | the same for the first model, without a champion to go back to: remove the alias manually | failed |
| `promote` | the candidate is the champion | success |

**Without changes** it needs no server and no connection: `todays_customers` creates the data, the model registry is the directory
`slo_models` in `AIRFLOW_HOME`, and the ledger is the SQLite file there. Its parameters simulate a bad day. It needs the
extras `evaluation` and `drift`.

**For production**

- connection `model_registry_default`: your MLflow server. `train` then ends with `mlflow.sklearn.log_model(...,
  registered_model_name=MODEL)`, and the predictors are `MlflowModel("models:/churn/...")` or `HttpModel`.
- parameter `home`: the location of the data, e.g. `s3://models/churn`; delete `todays_customers`.
- parameter `slos`: your SLO documents, with a DataSource of type Prometheus or SQL that names your connection.
- your servers respond for the alias `canary`: replace `canary_requests` by a wait as long as the window of
  `churn-canary-answers`, so that a canary is judged by its own requests.
- `[slo] ledger_conn_id`: a PostgreSQL that all workers share.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import Asset, Param, dag, task

from airflow_slo_provider.operators.drift import DriftBranchOperator, DriftProfileOperator
from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator
from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator, ModelFile
from airflow_slo_provider.operators.model_registry import PromoteModelOperator
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor, PipelineFreshnessSensor

MODEL = "churn"
FEATURES = ["amount", "tenure_months"]
SLOS = Path(__file__).resolve().parent / "slos" / "retraining"
HOME = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser() / "slo_examples" / "churn"
TODAY = "{{ params.home }}/customers.csv"

CUSTOMERS = Asset("churn_customers")
# Updated by scheduled_checks.py; an asset is identified by its name.
DRIFTED, STALE = Asset("churn_drifted"), Asset("churn_model_stale")

# Where branches join: one of them was followed, the others are skipped.
JOIN = "none_failed_min_one_success"


@dag(
    schedule=DRIFTED | STALE,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "home": Param(str(HOME), type="string", description="directory of the data, the golden set and the profiles"),
        "slos": Param(str(SLOS), type="string", description="SLO documents: a file or a directory"),
        # Parameters of the example's day; delete them with todays_customers and canary_requests.
        "rows": Param(5000, type="integer", minimum=10, description="example: customers of the day"),
        "shift": Param(0.0, type="number", description="example: how far amounts moved, in standard deviations"),
        "missing": Param(0.0, type="number", minimum=0, maximum=1, description="example: share of customers without an amount"),
        "wrong_labels": Param(0.0, type="number", minimum=0, maximum=1, description="example: share of wrong labels in training"),
        "failed": Param(
            0.001, type=["number", "null"], minimum=0, maximum=1, description="example: failed requests; null: unknown"
        ),
        "asked": Param(500, type="integer", minimum=0, description="example: requests that the canary is asked"),
    },
    tags=["slo", "model", "example"],
    doc_md=__doc__,
)
def retraining():
    # Both sensors wait in the triggerer, not on a worker. A retry does not restart their timeout.
    today = {"max_age": timedelta(hours=26), "deferrable": True, "poke_interval": 60, "timeout": timedelta(hours=2)}
    pipeline_fresh = PipelineFreshnessSensor(task_id="pipeline_fresh", asset=CUSTOMERS, **today)
    features_fresh = FeatureFreshnessSensor(task_id="features_fresh", path=TODAY, **today)
    data_is_stale = EmptyOperator(task_id="data_is_stale", trigger_rule="one_failed")

    # A reason to train.
    model_age = FreshnessCheckOperator(task_id="model_age", model=MODEL, alias="champion", max_age=timedelta(days=7))

    @task.branch
    def reason(age: dict[str, Any]) -> str:
        """Retrain an old model in any case, and train the first one; otherwise the drift decides."""
        return "drifted" if age["verdict"] in ("pass", "warn") else "train"

    drifted = DriftBranchOperator(
        task_id="drifted",
        reference="{{ params.home }}/profiles/{{ ti.xcom_pull(task_ids='model_age')['model_version'] }}.json",
        current=TODAY,
        ignore=["id", "label", "golden"],
        name="churn/training-data",
        report_path="{{ params.home }}/reports/drift.html",
        if_drift="train",
        if_ok="keep_model",
        if_unknown="inspect_data",
    )
    keep_model = EmptyOperator(task_id="keep_model")
    inspect_data = EmptyOperator(task_id="inspect_data")

    # A candidate and its evaluation.
    @task(trigger_rule=JOIN)
    def train(params: dict[str, Any] | None = None, run_id: str | None = None) -> dict[str, str]:
        """Train on the labels of the day, register the model, and store the manually labelled rows as the golden set."""
        import re
        import tempfile

        import joblib
        import pandas as pd
        from sklearn.linear_model import LogisticRegression

        from airflow_slo_provider.hooks.model_registry import ModelRegistryHook

        customers = pd.read_csv(f"{params['home']}/customers.csv").dropna()
        customers[customers["golden"]].drop(columns="golden").to_csv(f"{params['home']}/golden_set.csv", index=False)
        rows = customers[~customers["golden"]]
        registry = ModelRegistryHook().get_conn()
        champion = registry.alias(MODEL, "champion")
        version = re.sub(r"[^\w.-]", "-", run_id)  # by run, not by time: a retry trains and registers the same version
        model = LogisticRegression().fit(rows[FEATURES], rows["label"])
        with tempfile.TemporaryDirectory() as directory:
            joblib.dump(model, Path(directory) / "model.joblib")
            candidate = registry.register(MODEL, version, Path(directory))
        return {
            "version": version,
            "path": f"{candidate.uri}/model.joblib",
            "champion": champion or "",
            "champion_path": f"{registry.get(MODEL, champion).uri}/model.joblib" if champion else "",
        }

    def from_training(name: str) -> str:
        return f"{{{{ ti.xcom_pull(task_ids='train')['{name}'] }}}}"

    trained = train()
    candidate = {"model": MODEL, "version": from_training("version")}
    # The reference of the next run's drift check.
    profile = DriftProfileOperator(
        task_id="profile", data=TODAY, profile_path=f"{{{{ params.home }}}}/profiles/{from_training('version')}.json"
    )
    evaluate = GoldenSetEvaluationOperator(
        task_id="evaluate",
        golden_set="{{ params.home }}/golden_set.csv",
        predictor=ModelFile(from_training("path"), trusted=True),
        champion=ModelFile(from_training("champion_path"), trusted=True),
        champion_may_be_missing=True,  # the first model has no champion to compare with
        features=FEATURES,
        metrics=["roc_auc", "accuracy"],
        thresholds={"roc_auc": 0.75},
        compare_on=["roc_auc"],
        margin=0.01,  # at most one point worse: a model trained on nearly the same rows is rarely better
        fail_on=(),  # the next task follows the branch
        name="churn/golden-set",
        model_version=from_training("version"),
        report_path="{{ params.home }}/reports",
    )

    @task.branch
    def better(evaluation: dict[str, Any]) -> str:
        """An inconclusive or unknown result counts as no improvement."""
        return "gate" if evaluation["verdict"] in ("pass", "warn") else "keep_champion"

    keep_champion = EmptyOperator(task_id="keep_champion")
    # The error budget allows a change, or an approver does.
    gate = ErrorBudgetBranchOperator(
        task_id="gate",
        slos="{{ params.slos }}",
        select="churn-answers",
        follow_task_ids_if_allowed="canary",
        if_warning="request_review",
        if_unknown="request_review",
        if_frozen="hold",
    )
    request_review = HITLBranchOperator(
        task_id="request_review",
        subject=f"Try {MODEL} {from_training('version')} although the error budget is not healthy?",
        body="{{ ti.xcom_pull(task_ids='gate', key='decision')['reasons'] | join('\n\n') }}",
        options=["Try it", "Keep the champion"],
        options_mapping={"Try it": "canary", "Keep the champion": "hold"},
        defaults=["Keep the champion"],
        response_timeout=timedelta(hours=8),
    )
    hold = EmptyOperator(task_id="hold", trigger_rule=JOIN)

    # A share of the requests, then all of them.
    canary = PromoteModelOperator(task_id="canary", alias="canary", trigger_rule=JOIN, **candidate)
    canary_budget = ErrorBudgetBranchOperator(
        task_id="canary_budget",
        slos="{{ params.slos }}",
        select="churn-canary-answers",
        follow_task_ids_if_allowed="promote",
        if_warning="withdraw",
        if_frozen="withdraw",
        if_unknown="withdraw",
    )
    promote = PromoteModelOperator(
        task_id="promote",
        expected_champion=from_training("champion"),  # the champion of the comparison; another one is not replaced
        evaluation=evaluate.output,
        gate="canary_budget",  # a second check after the branch: nothing is promoted without the gate's decision of this run
        **candidate,
    )
    withdraw = PromoteModelOperator(
        task_id="withdraw",
        model=MODEL,
        version=from_training("champion"),  # the first model has none: this fails, and the alias must be removed manually
        alias="canary",
        expected_champion=from_training("version"),
        trigger_rule=JOIN,
    )

    @task(trigger_rule=JOIN)
    def report() -> dict[str, str | None]:
        """Report the serving version; add a notification here."""
        from airflow_slo_provider.hooks.model_registry import ModelRegistryHook

        return {alias: ModelRegistryHook().alias(MODEL, alias) for alias in ("champion", "canary")}

    fresh = [pipeline_fresh, features_fresh]
    todays_customers() >> fresh
    fresh >> data_is_stale
    fresh >> model_age
    reason(model_age.output) >> [drifted, trained]
    drifted >> [trained, keep_model, inspect_data]
    trained >> [profile, evaluate]
    # A model without its profile could not be checked for drift, so it is not promoted.
    [evaluate, profile] >> better(evaluate.output) >> [gate, keep_champion]
    gate >> [canary, request_review, hold]
    request_review >> [canary, hold]
    canary >> canary_requests(trained) >> [canary_budget, withdraw]
    canary_budget >> [promote, withdraw]
    [keep_model, inspect_data, keep_champion, hold, withdraw, promote] >> report()


# ---- Only for the example: a day's data, and the count of its requests -----------------------------------------------------


@task(outlets=[CUSTOMERS])
def todays_customers(params: dict[str, Any] | None = None) -> None:
    """Simulate the pipeline that delivers the data (recent customers with low spending often leave), and yesterday's log."""
    import numpy as np
    import pandas as pd

    rng, rows = np.random.default_rng(7), params["rows"]
    amount, tenure = rng.normal(50 + 10 * params["shift"], 10, rows), rng.poisson(24, rows)
    leaves = rng.random(rows) < 1 / (1 + np.exp((amount - 50) / 5 + (tenure - 24) / 10))
    golden = rng.random(rows) < 0.3  # labelled manually; the others by a job that may be wrong
    wrong = ~golden & (rng.random(rows) < params["wrong_labels"])
    customers = pd.DataFrame({"id": np.arange(rows), "amount": amount.round(2), "tenure_months": tenure})
    customers = customers.assign(label=(leaves ^ wrong).astype(int), golden=golden)
    customers.loc[rng.random(rows) < params["missing"], "amount"] = np.nan
    Path(params["home"]).mkdir(parents=True, exist_ok=True)
    customers.to_csv(f"{params['home']}/customers.csv", index=False)
    if params["failed"] is not None:
        count_requests("churn/requests", total=10_000, failed=round(10_000 * params["failed"]))


@task.branch
def canary_requests(candidate: dict[str, str], params: dict[str, Any] | None = None) -> str:
    """Simulate the servers: send some of today's customers to the canary and count its responses."""
    import joblib
    import pandas as pd

    model = joblib.load(candidate["path"].removeprefix("file://"))
    requests = pd.read_csv(f"{params['home']}/customers.csv")[FEATURES].head(params["asked"])
    failed = 0
    for number in range(len(requests)):
        try:
            model.predict(requests.iloc[[number]])
        except ValueError:  # it needs an amount
            failed += 1
    count_requests("churn/canary-requests", total=len(requests), failed=failed, version=candidate["version"])
    # The hour of the budget may contain requests of an earlier canary, which must not count for this one.
    return "canary_budget" if len(requests) >= 100 else "withdraw"


def count_requests(name: str, *, total: int, failed: int, version: str | None = None) -> None:
    """Record a number of requests in the ledger, for the SLO documents of this example."""
    from airflow.sdk import get_current_context

    from airflow_slo_provider.results import CheckResult
    from airflow_slo_provider.runtime import record

    counted = CheckResult(kind="requests", name=name, verdict="pass", good=total - failed, total=total, model_version=version)
    record([counted], get_current_context())


retraining()
