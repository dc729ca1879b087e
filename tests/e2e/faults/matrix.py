"""The fault matrix as data: fault, place, expected result, and the tests that show it."""

from __future__ import annotations

from dataclasses import dataclass

NOTHING = "nothing"

KILLED = "Worker killed"
RESTARTED = "Airflow component restarted"
POSTGRES = "PostgreSQL restarted"
PROMETHEUS = "Prometheus down, slow, wrong"
LEDGER = "Ledger locked, read-only, disk full"
CLOCK = "Clocks that differ"
TWICE = "Asset event delivered twice"
MANY = "200 DAG runs at once"
PAST = "Runs about the past, logs that stopped"
AIRFLOW = "Tasks that Airflow maps, skips or clears"
CLEARED = "Task cleared"
APART = "Ledger of one machine, ledger of another release"

#: All faults, in the order of the page.
FAULTS = (KILLED, RESTARTED, POSTGRES, PROMETHEUS, LEDGER, CLOCK, TWICE, MANY, PAST, AIRFLOW, CLEARED, APART)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fault at one point of a run.

    :param fault: one of :data:`FAULTS`
    :param where: what is running when it happens
    :param sees: what the user is expected to see
    :param tests: ids of the tests, without parameters; all must have passed
    :param lost: what is lost
    :param twice: what is done twice
    """

    fault: str
    where: str
    sees: str
    tests: tuple[str, ...]
    lost: str = NOTHING
    twice: str = NOTHING


def _here(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/e2e/faults/{name}" for name in names)


CELLS = (
    Cell(
        fault=KILLED,
        where="a gate, at each of five steps from reading the documents to taking the way",
        sees="the try fails, the retry decides anew; a decision that the killed try had recorded stays beside it",
        tests=(
            *_here("test_killed_tasks.py::test_gate_killed_at_each_step_decides_on_retry"),
            "tests/e2e/test_error_budget_stack.py::test_gate_killed_after_its_decision_decides_again_on_retry",
        ),
    ),
    Cell(
        fault=KILLED,
        where="a record, in the middle of its transaction (SQLite and PostgreSQL)",
        sees="all rows of the record or none; the retry's in their place",
        tests=("tests/services/test_ledger_writers.py::test_killed_writer_and_its_retry_leave_one_row_per_check",),
    ),
    Cell(
        fault=KILLED,
        where="a promotion or rollback in a directory, at each step of move and record",
        sees="the try fails, the retry finds what was moved and says so",
        tests=_here(
            "test_killed_tasks.py::test_version_change_killed_at_each_step_happens_once",
            "test_killed_tasks.py::test_version_change_killed_during_its_record_happens_once",
        ),
    ),
    Cell(
        fault=KILLED,
        where="a promotion or rollback in MLflow, at each of its four writes",
        sees="the try fails, the retry finishes what was begun; a move whose task never comes back is recorded by the next",
        tests=(
            "tests/services/test_registry_mlflow.py::test_task_killed_at_any_step_is_completed_by_its_retry",
            "tests/services/test_registry_mlflow.py::test_unrecorded_move_is_recorded_by_the_next_move",
        ),
    ),
    Cell(
        fault=KILLED,
        where="a rollback of a Kubernetes Deployment, before and after its patch and while it waits",
        sees="the try fails, the retry waits for the rollout, or begins it where nothing was patched",
        tests=(
            "tests/services/test_kube_once.py::test_rollback_killed_at_any_step_is_completed_once_by_the_retry",
            "tests/services/test_kube_once.py::test_every_fault_is_reported_and_leaves_no_partial_state",
        ),
    ),
    Cell(
        fault=KILLED,
        where="the registration of a version, half of whose files are written",
        sees="the version cannot be promoted until the retry has made it whole",
        tests=_here("test_killed_tasks.py::test_registration_killed_halfway_is_completed_on_retry"),
    ),
    Cell(
        fault=RESTARTED,
        where="triggerer, while a sensor waits for a budget, for fresh data, or a rollback for its rollout",
        sees="the task stays deferred and goes on in the new triggerer, in the same try",
        tests=(
            "tests/e2e/test_error_budget_stack.py::test_deferred_sensor_resumes_after_a_triggerer_restart",
            "tests/e2e/test_freshness_stack.py::test_waiting_sensor_survives_a_triggerer_restart",
            "tests/e2e/test_rollback_stack.py::test_deferred_rollback_completes_after_a_triggerer_restart",
        ),
    ),
    Cell(
        fault=RESTARTED,
        where="triggerer, while a watcher has told of an incident",
        sees="the incident's one run; no second one",
        tests=(
            "tests/services/test_burn_rate_trigger.py::test_two_slos_start_two_incidents_and_restart_starts_none",
            "tests/e2e/test_incident_stack.py::test_triggerer_killed_during_an_incident_starts_no_second_run",
        ),
    ),
    Cell(
        fault=RESTARTED,
        where="scheduler with its workers, after a promotion behind a gate has moved the alias and before it is recorded",
        sees="the run goes on by itself once the new scheduler takes the old one for dead (30 s); a second try of the promotion",
        tests=_here("test_stack.py::test_killed_scheduler_loses_no_run"),
    ),
    Cell(
        fault=RESTARTED,
        where="API server, at the same moment",
        sees="the run goes on by itself: in the same try, or in the next where Airflow gave the first one up",
        tests=_here("test_stack.py::test_killed_api_server_loses_no_run"),
    ),
    Cell(
        fault=POSTGRES,
        where="as Airflow's metadata database, at the same moment",
        sees="components of Airflow end and must be started again by what supervises them; then the run goes on by itself",
        tests=_here("test_stack.py::test_restarted_postgresql_loses_no_run"),
    ),
    Cell(
        fault=POSTGRES,
        where="as the ledger, while a gate decides and a promotion begins",
        sees="the tries fail with 'the server could not be reached' and are retried; nothing is promoted meanwhile",
        tests=_here("test_ledger_server.py::test_gate_and_promotion_during_a_server_restart_succeed_on_retry"),
    ),
    Cell(
        fault=POSTGRES,
        where="as the ledger, three times under four writers",
        sees="writes fail as transient faults until it is back",
        tests=_here("test_ledger_server.py::test_writers_during_a_server_restart_lose_no_rows"),
    ),
    Cell(
        fault=PROMETHEUS,
        where="a gate: it is down, hangs, drips, resets, breaks off, answers 429 or 5xx or partly, from a cache, of another time",
        sees="the try fails and says why; on the last try the way `if_unknown`, without one the task fails",
        tests=("tests/airflow/test_error_budget_faults.py::test_transient_fault_is_retried_then_follows_if_unknown",),
    ),
    Cell(
        fault=PROMETHEUS,
        where="a gate: it refuses the question, the credentials or the address",
        sees="the task fails at once and says what to mend",
        tests=(
            "tests/airflow/test_error_budget_faults.py::test_invalid_query_fails_at_once_despite_if_unknown",
            "tests/airflow/test_error_budget_faults.py::test_invalid_connection_fails_at_once",
        ),
    ),
    Cell(
        fault=PROMETHEUS,
        where="a gate: it answers nothing, NaN, infinity, contradicts itself or is no Prometheus",
        sees="the way `if_unknown`, without one the task fails; what was frozen stays so",
        tests=(
            "tests/airflow/test_error_budget_faults.py::test_invalid_answer_follows_if_unknown_or_fails_without_retry",
            "tests/airflow/test_error_budget_faults.py::test_frozen_budget_with_fault_stays_frozen_and_is_retried",
            "tests/services/test_failing_open.py::test_01_query_with_a_typo_is_not_100_percent_good",
            "tests/services/test_failing_open.py::test_03_no_data_is_not_added_as_minus_one",
            "tests/services/test_failing_open.py::test_09_no_data_is_not_a_full_budget",
            "tests/services/test_failing_open.py::test_10_success_with_an_error_is_refused",
            "tests/services/test_failing_open.py::test_12_slices_moved_by_the_server_are_refused",
            "tests/services/test_failing_open.py::test_13_repeated_series_is_not_counted_twice",
        ),
    ),
    Cell(
        fault=PROMETHEUS,
        where="a gate: it, or a database, hangs at one of many queries",
        sees="it is asked once and no more; within `[slo] evaluation_deadline` the gate records that its budgets are unknown",
        tests=(
            "tests/airflow/test_evaluation_deadline.py::test_gate_with_hanging_server_decides_within_deadline",
            "tests/airflow/test_evaluation_deadline.py::test_gate_with_execution_timeout_records_unknown",
            "tests/services/test_deadline_sources.py::test_hanging_database_gets_one_statement",
            "tests/services/test_deadline_sources.py::test_hanging_prometheus_is_queried_once",
        ),
    ),
    Cell(
        fault=PROMETHEUS,
        where="another server (Alertmanager, registry, traces, model server, Airflow, Kubernetes): an old or ambiguous answer",
        sees="the try fails and says why: the answer is a cache's, or can be read in two ways",
        tests=(
            "tests/services/test_answers_of_all_servers.py::test_cached_answer_is_refused_by_every_reader",
            "tests/services/test_answers_of_all_servers.py::test_repeated_key_in_an_answer_is_refused_by_every_reader",
        ),
    ),
    Cell(
        fault=PROMETHEUS,
        where="a watcher: it is down or hangs during an incident",
        sees="one event that nothing is known; the incident is the same one afterwards",
        tests=(
            "tests/services/test_burn_rate_trigger.py::test_unavailable_prometheus_is_reported_once_and_ends_no_incident",
            "tests/services/test_burn_rate_trigger.py::test_hanging_prometheus_ends_no_incident",
            "tests/e2e/test_incident_stack.py::test_unreachable_prometheus_is_reported_and_never_counts_as_recovered",
        ),
    ),
    Cell(
        fault=LEDGER,
        where="a gate, with a healthy budget",
        sees="locked or full: the try fails and is retried; read-only: the task fails at once. Nothing downstream runs",
        tests=_here("test_ledger_faults.py::test_gate_with_a_broken_ledger_fails_closed"),
    ),
    Cell(
        fault=LEDGER,
        where="a promotion",
        sees="the same; the old champion goes on serving",
        tests=_here("test_ledger_faults.py::test_promotion_with_a_broken_ledger_moves_nothing"),
    ),
    Cell(
        fault=LEDGER,
        where="a rollback",
        sees="it is rolled back at once; the task fails until that is recorded (read-only: until it is mended and cleared)",
        tests=_here("test_ledger_faults.py::test_rollback_with_a_broken_ledger_is_done_and_recorded_on_retry"),
    ),
    Cell(
        fault=LEDGER,
        where="the release of an image on Kubernetes (ledger unreachable, its directory gone)",
        sees="the try fails and is retried, or the task fails at once; the old image goes on serving",
        tests=("tests/airflow/test_deployment_changes.py::TestSetImage::test_set_image_without_ledger_changes_nothing",),
    ),
    Cell(
        fault=LEDGER,
        where="a rollback of a Deployment to `previous` (ledger unreachable)",
        sees="it is rolled back at once; the task fails until that is recorded",
        tests=("tests/airflow/test_deployment_operators.py::test_unrecorded_rollback_is_retried",),
    ),
    Cell(
        fault=LEDGER,
        where="gate and promotion, whose writes the operating system refuses (file size limit)",
        sees="the tries fail and are retried",
        tests=_here("test_ledger_faults.py::test_ledger_at_its_file_size_limit_fails_closed"),
    ),
    Cell(
        fault=LEDGER,
        where="a promotion, where the disk of the model registry is full",
        sees="the try fails and is retried; the old champion goes on serving",
        tests=_here("test_ledger_faults.py::test_registry_on_a_full_disk_keeps_its_state"),
    ),
    Cell(
        fault=CLOCK,
        where="a gate whose worker is an hour behind Prometheus, or ahead of it",
        sees="the try fails and says by how much; on the last try the way `if_unknown`",
        tests=_here("test_clocks.py::test_gate_with_a_prometheus_clock_one_hour_off_is_unknown"),
    ),
    Cell(
        fault=CLOCK,
        where="a gate after a freeze by a worker that is ten minutes ahead or behind",
        sees="it stays frozen until the exit level is passed",
        tests=_here("test_clocks.py::test_freeze_recorded_with_another_clock_still_applies"),
    ),
    Cell(
        fault=CLOCK,
        where="two runs about one incident, on workers an hour apart",
        sees="the second run skips everything, whichever clock is ahead",
        tests=_here("test_clocks.py::test_two_runs_with_different_clocks_handle_an_incident_once"),
    ),
    Cell(
        fault=CLOCK,
        where="a rollback after a promotion by a worker an hour ahead",
        sees="it goes to the version that served before",
        tests=_here("test_clocks.py::test_rollback_after_a_promotion_recorded_in_the_future_takes_effect"),
    ),
    Cell(
        fault=CLOCK,
        where="freshness of data from the future",
        sees="the check fails as `clock_skew`; it is never fresh",
        tests=(
            "tests/unit/freshness/test_freshness_assessment.py::test_group_with_future_timestamp_is_not_fresh",
            "tests/unit/freshness/test_age_verdict.py::test_future_timestamp_fails_with_clock_skew",
        ),
    ),
    Cell(
        fault=TWICE,
        where="an incident's DAG, on real components: both events before a run begins, and one after the other",
        sees="one run for both, or a second run that skips everything",
        tests=_here("test_stack.py::test_asset_event_delivered_twice_rolls_back_once"),
    ),
    Cell(
        fault=TWICE,
        where="25 incidents, each told to eight runs at the same moment, in eight processes (SQLite and PostgreSQL)",
        sees="one run takes care of each, the other seven skip everything",
        tests=_here(
            "test_many_runs.py::test_concurrent_runs_handle_an_incident_once",
            "test_many_runs.py::test_run_overtaken_while_opening_an_incident_does_nothing",
        ),
    ),
    Cell(
        fault=MANY,
        where="gate and promotion of one model, in eight processes on one ledger (SQLite and PostgreSQL)",
        sees="200 decisions; one promotion, 199 that say the champion was changed meanwhile",
        tests=_here("test_many_runs.py::test_concurrent_gates_and_promotions_lose_and_repeat_nothing"),
    ),
    Cell(
        fault=MANY,
        where="the same on real components: 200 runs are started at once, two tasks run at a time",
        sees="the same",
        tests=_here("test_stack.py::test_two_hundred_runs_lose_and_repeat_nothing"),
    ),
    Cell(
        fault=MANY,
        where="eight processes that write 1,000 records each (SQLite and PostgreSQL)",
        sees="8,000 rows",
        tests=("tests/services/test_ledger_writers.py::test_concurrent_writers_lose_no_rows",),
    ),
    Cell(
        fault=PAST,
        where="an instant in the future: a gate's `at`, a backfill of an interval that has not ended, `airflow slo status --at`",
        sees="the task fails without a retry, the command exits with 2; nothing is recorded",
        tests=(
            "tests/airflow/test_run_instant.py::test_gate_with_future_at_fails",
            "tests/airflow/test_run_instant.py::test_gate_in_backfill_of_unfinished_interval_fails",
            "tests/unit/slo/test_monitor.py::test_evaluate_in_future_raises_beyond_clock_tolerance",
        ),
    ),
    Cell(
        fault=PAST,
        where="a backfill of twelve runs, each with a check of the present",
        sees="one observation that counts; a spent budget stays spent",
        tests=("tests/e2e/test_times_stack.py::test_backfill_does_not_restore_a_budget",),
    ),
    Cell(
        fault=PAST,
        where="eight processes that observe the same at once, for runs that are caught up (SQLite and PostgreSQL)",
        sees="one row that counts",
        tests=("tests/services/test_ledger_writers.py::test_concurrent_equal_observations_leave_one_counted_row",),
    ),
    Cell(
        fault=PAST,
        where="one of several mapped gates is unknown; operators with `gate=` in their task group and behind it",
        sees="operators whose own gate allows act, all others fail without a change",
        tests=("tests/e2e/test_times_stack.py::test_task_behind_a_mapped_gate_runs_only_if_its_own_gate_allows",),
    ),
    Cell(
        fault=PAST,
        where="a backfill of a partition: a gate, and what acts",
        sees="the decision of the partition's start, or a task that fails and asks for `at`; what acts fails without a change",
        tests=("tests/e2e/test_times_stack.py::test_backfill_of_a_partition_evaluates_it_and_changes_nothing",),
    ),
    Cell(
        fault=PAST,
        where="a log, counters or checks that stopped, with `airflow-slo/max-silence` (Prometheus, PostgreSQL, the ledger)",
        sees="the status is NO_DATA, the decision unknown",
        tests=(
            "tests/services/test_silence_services.py::test_prometheus_counter_without_increase_is_silent",
            "tests/services/test_silence_services.py::test_sql_log_without_recent_events_is_silent",
            "tests/unit/slo/test_silence.py::TestLedger::test_stopped_checks_are_no_data",
        ),
    ),
    Cell(
        fault=AIRFLOW,
        where="gates and branches that block, plain, mapped and in mapped task groups over lists and XComs",
        sees="what is blocked is skipped or `upstream_failed`, for its own map index or altogether, and does not run",
        tests=(
            "tests/e2e/test_blocking_stack.py::test_blocked_tasks_in_every_form_do_not_run",
            "tests/e2e/test_blocking_stack.py::test_allowed_tasks_in_every_form_run",
        ),
    ),
    Cell(
        fault=AIRFLOW,
        where="a task that is blocked, and that somebody clears alone",
        sees="it is skipped again, or fails over the gate that failed",
        tests=("tests/e2e/test_blocking_stack.py::test_blocked_tasks_cleared_alone_do_not_run",),
    ),
    Cell(
        fault=AIRFLOW,
        where="a gate or branch with asset events among its outlets, also by an alias",
        sees="an event leaves it only where it allowed; no DAG starts for a freeze",
        tests=("tests/e2e/test_blocking_stack.py::test_asset_events_are_emitted_only_by_allowed_tasks",),
    ),
    Cell(
        fault=CLEARED,
        where="a gate or branch that froze, after the data has recovered (in the task runner, and on real components)",
        sees="it stays frozen until its cool-down is over and its exit level is passed; both decisions are listed",
        tests=(
            "tests/airflow/test_cleared_gates.py::TestClearedAfterADecision::test_cleared_frozen_branch_stays_frozen",
            "tests/airflow/test_cleared_gates.py::TestClearedAfterADecision::test_cleared_frozen_gate_stays_frozen",
            "tests/e2e/test_clearing_stack.py::test_clearing_or_marking_a_frozen_gate_releases_nothing",
        ),
    ),
    Cell(
        fault=APART,
        where="gate, sensor, incident, promotion and watch, where tasks run on several machines and the ledger is a file",
        sees="the task fails at once and says what to set; the watch says that nothing is known",
        tests=(
            "tests/airflow/test_unshared_ledger.py::test_gate_and_sensor_with_unshared_ledger_fail",
            "tests/airflow/test_unshared_ledger.py::test_incident_with_unshared_ledger_is_not_claimed",
            "tests/airflow/test_unshared_ledger.py::test_promotion_with_unshared_ledger_is_not_made",
            "tests/airflow/test_unshared_ledger.py::test_watch_with_unshared_ledger_reports_that_it_cannot_store_its_state",
        ),
    ),
    Cell(
        fault=APART,
        where="a process that opened the ledger before it was upgraded, of this release and of the one before",
        sees="what it writes is refused; the message says to restart it",
        tests=(
            "tests/unit/ledger/test_environments.py::TestMigration::test_insert_of_an_older_release_is_refused_with_a_reason",
            "tests/unit/ledger/test_environments.py::TestMigration::test_upsert_of_an_older_release_is_refused",
            "tests/unit/ledger/test_environments.py::TestMigration::test_process_with_an_older_schema_is_refused",
        ),
    ),
)
