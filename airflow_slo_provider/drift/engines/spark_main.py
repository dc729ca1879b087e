"""A script for ``spark-submit``: profile a dataset, or compare it with a stored profile.

    spark-submit spark_main.py s3a://features/training --save-profile s3://models/7/profile.json
    spark-submit spark_main.py s3a://features/day=2026-11-24 --reference s3://models/7/profile.json --report s3://reports/drift.json

Exits with 0 when no drift was found, with 1 on drift, with 2 when it could not be judged.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="path of the data")
    parser.add_argument("--format", default="parquet", help="format of the data, a name that Spark knows")
    parser.add_argument("--reference", help="stored profile, or path of data")
    parser.add_argument("--ignore", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--categorical", action="append", default=[], metavar="NAME")
    parser.add_argument("--save-profile", metavar="URI")
    parser.add_argument("--report", metavar="URI", help="HTML if it ends in .html, else JSON")
    args = parser.parse_args(arguments)
    if not args.reference and not args.save_profile:
        parser.error("set --reference to compare with, or --save-profile to store one")
    from pyspark.sql import SparkSession

    from airflow_slo_provider import drift
    from airflow_slo_provider.drift.engines.spark import profile_spark
    from airflow_slo_provider.exceptions import SLOProviderError

    spark = SparkSession.builder.appName("drift").getOrCreate()
    try:

        def read(path: str) -> drift.DatasetProfile:
            return profile_spark(spark.read.format(args.format).load(path), categorical=args.categorical, name=path)

        current = read(args.data)
        if args.save_profile:
            current.save(args.save_profile)
        if not args.reference:
            return 0
        reference = drift.load_profile(args.reference) if args.reference.endswith(".json") else read(args.reference)
        report = drift.compare(reference, current, ignore=args.ignore)
        if args.report:
            drift.save_report(report, args.report)
        sys.stdout.write(f"{report.verdict.value}: {report.message}\n")
        return 0 if report.verdict in ("ok", "warn") else 1 if report.verdict == "drift" else 2
    except SLOProviderError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        spark.stop()


if __name__ == "__main__":
    sys.exit(main())
