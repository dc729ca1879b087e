"""Define the commands of ``airflow slo`` for Airflow's command line. Implementations are imported when a command is called."""

from __future__ import annotations

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

from airflow_slo_provider.cli.drift import DRIFT_COMMAND

_MODULE = "airflow_slo_provider.cli.commands"
_HISTORY = "airflow_slo_provider.cli.history"
_LEDGER = "airflow_slo_provider.cli.ledger"

ARG_PATH = Arg(("path",), metavar="PATH", nargs="+", help="SLO documents: files, or directories that hold *.yaml and *.yml files")
ARG_AGAINST = Arg(
    ("--against",),
    metavar="CONNECTION",
    help="Also check the Prometheus queries on the server of this Airflow connection: their series, and how long they take",
)
ARG_SELECT = Arg(
    ("--select",),
    metavar="NAME",
    action="append",
    help="Only the SLO of this name, or SERVICE/NAME if services share it; may be set several times",
)
ARG_AT = Arg(("--at",), metavar="ISO", help="The time to evaluate, e.g. 2026-11-24T05:00:00+00:00 (default: now)")
ARG_OUTPUT = Arg(("-o", "--output"), choices=("table", "json"), default="table", help="Output format (default: table)")
ARG_OUTPUT_FILE = Arg(("--output-file",), metavar="FILE", help="Write the rules here (default: to standard output)")
ARG_INTERVAL = Arg(
    ("--interval",), metavar="DURATION", help="Evaluation interval of the rule groups, e.g. 30s (default: the server's)"
)
ARG_LABEL = Arg(("--label",), metavar="KEY=VALUE", action="append", help="A label to add to every rule; may be set several times")
ARG_GRAFANA = Arg(("--grafana",), metavar="FILE", help="Also write a Grafana dashboard over the recorded series, as JSON")
ARG_SLOTH_PERIOD = Arg(
    ("--sloth-period",),
    metavar="DURATION",
    help="Time window of sloth's SLOs, e.g. 28d (default: sloth_period of section slo, else 30d)",
)
ARG_SINCE = Arg(("--since",), metavar="ISO", help="Start of the time range (report: 30 days before the end; decisions: no limit)")
ARG_UNTIL = Arg(("--until",), metavar="ISO", help="End of the time range (default: now)")
ARG_LIMIT = Arg(("--limit",), metavar="N", type=int, default=20, help="Show at most N, newest first (default: 20)")
ARG_DAG = Arg(("--dag",), metavar="DAG_ID", help="Only what runs of this DAG have recorded")
ARG_EVERY = Arg(("--every",), metavar="DURATION", default="1d", help="Interval between evaluations, e.g. 6h (default: 1d)")
ARG_TEST_RUNS = Arg(
    ("--test-runs",), action="store_true", help="Also what dag.test(), airflow dags test and airflow tasks test have recorded"
)
ARG_NAME = Arg(("name",), metavar="NAME", help="The environment that gets the rows, e.g. production")
ARG_KEEP = Arg(
    ("--keep",), metavar="DURATION", required=True, help="How long rows are kept, e.g. 400d; at least the longest window"
)
ARG_DRY_RUN = Arg(("--dry-run",), action="store_true", help="Only report what would be removed")
ARG_ANY_PATH = Arg(("path",), metavar="PATH", nargs="*", help="SLO documents whose windows --keep must also cover")

_ENVIRONMENT_COMMANDS = (
    ActionCommand(
        name="list",
        help="Show the environments of the ledger and their numbers of rows",
        func=lazy_load_command(f"{_LEDGER}.environments"),
        args=(ARG_OUTPUT,),
    ),
    ActionCommand(
        name="adopt",
        help="Move the rows of the unnamed environment to a named one",
        description=(
            "Moves what was recorded before the environment was set: freezes, checks, incidents, promotions. All or none; a "
            "second run moves nothing more. Rows of task instances that already have rows in the environment are not moved; "
            "their number is reported."
        ),
        func=lazy_load_command(f"{_LEDGER}.adopt"),
        args=(ARG_NAME,),
    ),
)

SLO_COMMANDS = (
    ActionCommand(
        name="validate",
        help="Check SLO documents: list every error with its file and line",
        description=(
            "Reads the documents together and lists every error and every warning with file, line and path in the document. "
            "With --against, each Prometheus indicator is also measured over its SLO's window on that server, and a metric "
            "without series is an error. Exits with 1 if there is an error, with 2 if the server fails, else with 0."
        ),
        func=lazy_load_command(f"{_MODULE}.validate"),
        args=(ARG_PATH, ARG_AGAINST, ARG_SLOTH_PERIOD),
    ),
    ActionCommand(
        name="status",
        help="Measure SLOs and show their remaining error budgets",
        description=(
            "Measures the SLOs through Airflow's connections and prints them. Nothing is recorded, and no policy is applied. "
            "Exits with 0 if every budget is known and none is exhausted, with 1 if one is exhausted, and with 2 if one "
            "could not be measured (this takes precedence over 1) or the documents, the selection or the time are invalid."
        ),
        func=lazy_load_command(f"{_MODULE}.status"),
        args=(ARG_PATH, ARG_SELECT, ARG_AT, ARG_OUTPUT),
    ),
    ActionCommand(
        name="report",
        help="Show the history of error budgets, from the recorded checks",
        description=(
            "Reads the ledger: the last status of each SLO, its remaining and its lowest budget, how often it could not be "
            "measured and how often it froze deployments. Measures nothing. Exits with 2 if an SLO has no recorded check."
        ),
        func=lazy_load_command(f"{_HISTORY}.report"),
        args=(ARG_PATH, ARG_SELECT, ARG_SINCE, ARG_UNTIL, ARG_OUTPUT, ARG_TEST_RUNS),
    ),
    ActionCommand(
        name="decisions",
        help="Show gate decisions, promotions, deployments, rollbacks, and the evaluations that stopped them",
        description=(
            "Reads the ledger, newest first: when, which gate or model, the outcome (of a decision allowed, warning, frozen or "
            "unknown; of a change pass, fail or unknown), the model version, the DAG run and the reasons. Golden sets and drift "
            "are shown if they did not pass. With --select, the decisions that evaluated the SLO and the other records of their "
            "runs. Exits with 2 if there is nothing to show."
        ),
        func=lazy_load_command(f"{_HISTORY}.decisions"),
        args=(ARG_SELECT, ARG_DAG, ARG_SINCE, ARG_UNTIL, ARG_LIMIT, ARG_OUTPUT, ARG_TEST_RUNS),
    ),
    ActionCommand(
        name="backfill",
        help="Evaluate SLOs at past times and record the results",
        description=(
            "Evaluates the SLOs at past times, oldest first, and records each result in the ledger: a history for the UI and for "
            "`report` from the first day. A second run replaces its own rows. Exits with 2 if an SLO could not be measured."
        ),
        func=lazy_load_command(f"{_HISTORY}.backfill"),
        args=(ARG_PATH, ARG_SELECT, ARG_SINCE, ARG_UNTIL, ARG_EVERY),
    ),
    ActionCommand(
        name="rules",
        help="Write Prometheus recording and burn-rate alert rules for SLOs",
        description=(
            "Writes a Prometheus rule file that `promtool check rules` accepts: error ratios from counts over whole windows, and "
            "multi-window, multi-burn-rate alerts. Exits with 1 if the documents have errors."
        ),
        func=lazy_load_command(f"{_MODULE}.rules"),
        args=(ARG_PATH, ARG_SELECT, ARG_OUTPUT_FILE, ARG_INTERVAL, ARG_LABEL, ARG_GRAFANA, ARG_SLOTH_PERIOD),
    ),
    GroupCommand(
        name="environment",
        help="Manage the environments of a shared ledger",
        subcommands=_ENVIRONMENT_COMMANDS,
    ),
    ActionCommand(
        name="prune",
        help="Remove old rows of the ledger, except those that a decision may still need",
        description=(
            "Removes rows older than --keep in this environment, in batches, and reports their number by kind. It keeps the "
            "newest row of each check, promotions, deployments, rollbacks and culprits, and the rows of open incidents. "
            "Rejects a --keep that is shorter than 30 days or than the longest window of an SLO in the ledger or in the "
            "documents."
        ),
        func=lazy_load_command(f"{_LEDGER}.prune"),
        args=(ARG_ANY_PATH, ARG_KEEP, ARG_DRY_RUN),
    ),
    DRIFT_COMMAND,
)


def get_slo_cli_commands() -> list[GroupCommand]:
    """Return the command group ``slo``; ``get_provider_info`` refers to this function."""
    return [GroupCommand(name="slo", help="Service level objectives, error budgets and drift", subcommands=SLO_COMMANDS)]
