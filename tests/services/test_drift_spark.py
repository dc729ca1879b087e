"""Compare counts of this process with those of Spark, in local mode in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess

from airflow_slo_provider import drift
from tests.peers import peer
from tests.services.test_drift_sql import frame, rows_of
from tests.support import REPO, need

SCRIPT = """
import json, sys
from pyspark.sql import SparkSession
from airflow_slo_provider import drift

spark = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "2")
         .config("spark.sql.session.timeZone", "America/New_York").getOrCreate())
data = spark.read.parquet(sys.argv[1]).repartition(5)
drift.profile(data).save(sys.argv[2])
report = drift.compare(sys.argv[2], data.filter("real is null or real > -0.5"), ignore=["nothing"])
print(json.dumps({name: column.verdict for name, column in report.columns.items()}))
empty = drift.profile(data.filter("1 = 0"))
assert empty.rows == 0 and drift.compare(sys.argv[2], data.filter("1 = 0")).verdict == "insufficient_data"
from airflow_slo_provider.drift.engines.spark_main import main
print(main([sys.argv[1], "--reference", sys.argv[2], "--ignore", "nothing", "--report", sys.argv[3]]))
"""


def test_spark_profile_equals_local_profile(tmp_path) -> None:
    need("java")
    home = peer("drift-spark")
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = frame(rows_of(3000)).drop_columns("nothing").append_column("nothing", pa.array([None] * 3000, type=pa.int32()))
    pq.write_table(table, tmp_path / "facts.parquet")
    (tmp_path / "script.py").write_text(SCRIPT)
    paths = [str(tmp_path / name) for name in ("facts.parquet", "profile.json", "report.json")]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "PYSPARK_PYTHON": str(home / "python"), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        [str(home / "python"), str(tmp_path / "script.py"), *paths],
        env=environment, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    local, counted = drift.profile(paths[0]), drift.load_profile(paths[1])
    for name, column in local.columns.items():
        assert counted[name] == column, name
    assert counted == local
    assert counted.engine == "spark"
    verdicts, message, code = done.stdout.strip().splitlines()[-3:]
    assert json.loads(verdicts)["real"] == "drift"
    assert message.startswith("ok: ")
    assert code == "0"
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "ok"
