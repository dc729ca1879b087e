#!/bin/sh
# Run once, by the image, when the cluster is made: a database and a user each for the SLO ledger and for MLflow, beside Airflow's.
set -eu
psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" \
    --set=ledger_password="$SLO_LEDGER_PASSWORD" --set=mlflow_password="$MLFLOW_PASSWORD" <<'SQL'
CREATE ROLE slo_ledger LOGIN PASSWORD :'ledger_password';
CREATE DATABASE slo_ledger OWNER slo_ledger;
REVOKE CONNECT ON DATABASE slo_ledger FROM PUBLIC;
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT ON DATABASE mlflow FROM PUBLIC;
SQL
