"""The fault matrix as data: what breaks, where, what is expected of it, and which tests show it."""

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

#: Every fault, in the page's order.
FAULTS = (KILLED, RESTARTED, POSTGRES, PROMETHEUS, LEDGER, CLOCK, TWICE, MANY, PAST, AIRFLOW, CLEARED, APART)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fault at one place.

    :param fault: one of :data:`FAULTS`
    :param where: what was going on
    :param sees: what the user is expected to see
    :param tests: ids of the tests that show it, without parameters; all must have run and passed
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
            *_here("test_killed_tasks.py::test_gate"),
            "tests/e2e/test_error_budget_stack.py::test_a_gate_that_is_killed_after_its_decision_decides_anew_beside_it",
        ),
    ),
    Cell(
        fault=KILLED,
        where="a record, in the middle of its transaction (SQLite and PostgreSQL)",
        sees="all rows of the record or none; the retry's in their place",
        tests=("tests/services/test_ledger_writers.py::test_a_killed_writer_and_its_retry_leave_one_row_per_check",),
    ),
    Cell(
        fault=KILLED,
        where="a promotion or rollback in a directory, at each step of move and record",
        sees="the try fails, the retry finds what was moved and says so",
        tests=_here(
            "test_killed_tasks.py::test_move",
            "test_killed_tasks.py::test_move_in_the_middle_of_a_record",
        ),
    ),
    Cell(
        fault=KILLED,
        where="a promotion or rollback in MLflow, at each of its four writes",
        sees="the try fails, the retry finishes what was begun; a move whose task never comes back is recorded by the next",
        tests=(
            "tests/services/test_registry_mlflow.py::test_a_task_killed_on_its_way",
            "tests/services/test_registry_mlflow.py::test_a_move_that_was_never_recorded_is_recorded_by_the_next",
        ),
    ),
    Cell(
        fault=KILLED,
        where="a rollback of a Kubernetes Deployment, before and after its patch and while it waits",
        sees="the try fails, the retry waits for the rollout, or begins it where nothing was patched",
        tests=(
            "tests/services/test_kube_once.py::test_killed_and_retried",
            "tests/services/test_kube_once.py::test_every_fault_is_told_and_leaves_no_half_state",
        ),
    ),
    Cell(
        fault=KILLED,
        where="the registration of a version, half of whose files are written",
        sees="the version cannot be promoted until the retry has made it whole",
        tests=_here("test_killed_tasks.py::test_registration"),
    ),
    Cell(
        fault=RESTARTED,
        where="triggerer, while a sensor waits for a budget, for fresh data, or a rollback for its rollout",
        sees="the task stays deferred and goes on in the new triggerer, in the same try",
        tests=(
            "tests/e2e/test_error_budget_stack.py::test_the_sensor_defers_survives_a_restart_of_the_triggerer_and_resumes",
            "tests/e2e/test_freshness_stack.py::test_it_waits_through_a_restart_of_the_triggerer",
            "tests/e2e/test_rollback_stack.py::test_roll_back",
        ),
    ),
    Cell(
        fault=RESTARTED,
        where="triggerer, while a watcher has told of an incident",
        sees="the incident's one run; no second one",
        tests=(
            "tests/services/test_burn_rate_trigger.py::test_two_slos_are_two_incidents_and_a_restart_starts_nothing",
            "tests/e2e/test_incident_stack.py::test_a_triggerer_that_is_killed_during_an_incident_starts_no_second_run",
        ),
    ),
    Cell(
        fault=RESTARTED,
        where="scheduler with its workers, after a promotion behind a gate has moved the alias and before it is recorded",
        sees="the run goes on by itself once the new scheduler takes the old one for dead (30 s); a second try of the promotion",
        tests=_here("test_stack.py::test_the_scheduler_is_killed"),
    ),
    Cell(
        fault=RESTARTED,
        where="API server, at the same moment",
        sees="the run goes on by itself: in the same try, or in the next where Airflow gave the first one up",
        tests=_here("test_stack.py::test_the_api_server_is_killed"),
    ),
    Cell(
        fault=POSTGRES,
        where="as Airflow's metadata database, at the same moment",
        sees="components of Airflow end and must be started again by what supervises them; then the run goes on by itself",
        tests=_here("test_stack.py::test_postgresql_is_restarted"),
    ),
    Cell(
        fault=POSTGRES,
        where="as the ledger, while a gate decides and a promotion begins",
        sees="the tries fail with 'the server could not be reached' and are retried; nothing is promoted meanwhile",
        tests=_here("test_ledger_server.py::test_gate_and_promotion"),
    ),
    Cell(
        fault=POSTGRES,
        where="as the ledger, three times under four writers",
        sees="writes fail as transient faults until it is back",
        tests=_here("test_ledger_server.py::test_writers"),
    ),
    Cell(
        fault=PROMETHEUS,
        where="a gate: it is down, hangs, drips, resets, breaks off, answers 429 or 5xx or partly, from a cache, of another time",
        sees="the try fails and says why; on the last try the way `if_unknown`, without one the task fails",
        tests=(
            "tests/airflow/test_error_budget_faults.py::"
            "test_faults_that_may_pass_are_retried_and_on_the_last_try_a_person_may_look",
        ),
    ),
    Cell(
        fault=PROMETHEUS,
        where="a gate: it refuses the question, the credentials or the address",
        sees="the task fails at once and says what to mend",
        tests=(
            "tests/airflow/test_error_budget_faults.py::test_wrong_questions_fail_at_once_even_with_a_way_for_the_unknown",
            "tests/airflow/test_error_budget_faults.py::test_wrong_connections_fail_at_once",
        ),
    ),
    Cell(
        fault=PROMETHEUS,
        where="a gate: it answers nothing, NaN, infinity, contradicts itself or is no Prometheus",
        sees="the way `if_unknown`, without one the task fails; what was frozen stays so",
        tests=(
            "tests/airflow/test_error_budget_faults.py::"
            "test_senseless_answers_go_the_way_for_the_unknown_or_fail_without_a_retry",
            "tests/airflow/test_error_budget_faults.py::test_what_was_frozen_stays_so_and_is_asked_again",
            "tests/services/test_failing_open.py::test_1_a_typo_in_a_query_is_not_100_percent_good",
            "tests/services/test_failing_open.py::test_3_minus_one_for_no_data_does_not_enter_a_sum",
            "tests/services/test_failing_open.py::test_9_no_data_is_not_a_full_budget",
            "tests/services/test_failing_open.py::test_10_a_success_that_takes_itself_back_is_none",
            "tests/services/test_failing_open.py::test_12_slices_that_a_server_moved_are_not_slices_without_failures",
            "tests/services/test_failing_open.py::test_13_a_series_that_is_answered_twice_is_not_twice_the_traffic",
        ),
    ),
    Cell(
        fault=PROMETHEUS,
        where="a gate: it, or a database, hangs at one of many queries",
        sees="it is asked once and no more; within `[slo] evaluation_deadline` the gate records that its budgets are unknown",
        tests=(
            "tests/airflow/test_evaluation_deadline.py::test_a_gate_whose_server_hangs_decides_within_its_deadline",
            "tests/airflow/test_evaluation_deadline.py::test_a_gate_with_an_execution_timeout_records_that_it_is_unknown",
            "tests/services/test_deadline_sources.py::test_a_database_that_hangs_is_asked_one_statement_for_one_objective",
            "tests/services/test_deadline_sources.py::test_a_prometheus_that_hangs_is_not_asked_again",
        ),
    ),
    Cell(
        fault=PROMETHEUS,
        where="another server (Alertmanager, registry, traces, model server, Airflow, Kubernetes): an old or ambiguous answer",
        sees="the try fails and says why: the answer is a cache's, or can be read in two ways",
        tests=(
            "tests/services/test_answers_of_all_servers.py::test_an_answer_of_a_cache_is_refused_by_every_reader",
            "tests/services/test_answers_of_all_servers.py::test_an_answer_with_a_repeated_key_is_refused_by_every_reader",
        ),
    ),
    Cell(
        fault=PROMETHEUS,
        where="a watcher: it is down or hangs during an incident",
        sees="one event that nothing is known; the incident is the same one afterwards",
        tests=(
            "tests/services/test_burn_rate_trigger.py::test_a_prometheus_that_is_down_is_told_once_and_ends_nothing",
            "tests/services/test_burn_rate_trigger.py::test_a_prometheus_that_hangs_is_not_calm",
            "tests/e2e/test_incident_stack.py::test_a_prometheus_that_is_down_is_told_and_is_never_calm",
        ),
    ),
    Cell(
        fault=LEDGER,
        where="a gate, with a healthy budget",
        sees="locked or full: the try fails and is retried; read-only: the task fails at once. Nothing downstream runs",
        tests=_here("test_ledger_faults.py::test_gate"),
    ),
    Cell(
        fault=LEDGER,
        where="a promotion",
        sees="the same; the old champion goes on serving",
        tests=_here("test_ledger_faults.py::test_promotion"),
    ),
    Cell(
        fault=LEDGER,
        where="a rollback",
        sees="it is rolled back at once; the task fails until that is recorded (read-only: until it is mended and cleared)",
        tests=_here("test_ledger_faults.py::test_rollback"),
    ),
    Cell(
        fault=LEDGER,
        where="the release of an image on Kubernetes (ledger unreachable, its directory gone)",
        sees="the try fails and is retried, or the task fails at once; the old image goes on serving",
        tests=("tests/airflow/test_deployment_changes.py::TestSetImage::test_what_cannot_be_recorded_is_not_released",),
    ),
    Cell(
        fault=LEDGER,
        where="a rollback of a Deployment to `previous` (ledger unreachable)",
        sees="it is rolled back at once; the task fails until that is recorded",
        tests=("tests/airflow/test_deployment_operators.py::test_without_a_record_it_does_not_count",),
    ),
    Cell(
        fault=LEDGER,
        where="gate and promotion, whose writes the operating system refuses (file size limit)",
        sees="the tries fail and are retried",
        tests=_here("test_ledger_faults.py::test_a_file_size_limit"),
    ),
    Cell(
        fault=LEDGER,
        where="a promotion, where the disk of the model registry is full",
        sees="the try fails and is retried; the old champion goes on serving",
        tests=_here("test_ledger_faults.py::test_the_registrys_disk_is_full"),
    ),
    Cell(
        fault=CLOCK,
        where="a gate whose worker is an hour behind Prometheus, or ahead of it",
        sees="the try fails and says by how much; on the last try the way `if_unknown`",
        tests=_here("test_clocks.py::test_prometheus"),
    ),
    Cell(
        fault=CLOCK,
        where="a gate after a freeze by a worker that is ten minutes ahead or behind",
        sees="it stays frozen until the exit level is passed",
        tests=_here("test_clocks.py::test_a_freeze_of_a_worker_with_another_clock"),
    ),
    Cell(
        fault=CLOCK,
        where="two runs about one incident, on workers an hour apart",
        sees="the second run skips everything, whichever clock is ahead",
        tests=_here("test_clocks.py::test_two_runs_about_one_incident"),
    ),
    Cell(
        fault=CLOCK,
        where="a rollback after a promotion by a worker an hour ahead",
        sees="it goes to the version that served before",
        tests=_here("test_clocks.py::test_a_rollback_after_a_promotion_from_the_future"),
    ),
    Cell(
        fault=CLOCK,
        where="freshness of data from the future",
        sees="the check fails as `clock_skew`; it is never fresh",
        tests=(
            "tests/unit/freshness/test_assess.py::test_a_group_in_the_future_is_not_fresh",
            "tests/unit/freshness/test_judge.py::test_a_timestamp_in_the_future_is_a_failure_of_its_own",
        ),
    ),
    Cell(
        fault=TWICE,
        where="an incident's DAG, on real components: both events before a run begins, and one after the other",
        sees="one run for both, or a second run that skips everything",
        tests=_here("test_stack.py::test_an_asset_event_is_delivered_twice"),
    ),
    Cell(
        fault=TWICE,
        where="25 incidents, each told to eight runs at the same moment, in eight processes (SQLite and PostgreSQL)",
        sees="one run takes care of each, the other seven skip everything",
        tests=_here(
            "test_many_runs.py::test_one_of_them_takes_care_of_an_incident",
            "test_many_runs.py::test_a_run_that_is_overtaken_while_it_opens_an_incident",
        ),
    ),
    Cell(
        fault=MANY,
        where="gate and promotion of one model, in eight processes on one ledger (SQLite and PostgreSQL)",
        sees="200 decisions; one promotion, 199 that say the champion was changed meanwhile",
        tests=_here("test_many_runs.py::test_gates_and_promotions"),
    ),
    Cell(
        fault=MANY,
        where="the same on real components: 200 runs are started at once, two tasks run at a time",
        sees="the same",
        tests=_here("test_stack.py::test_two_hundred_runs"),
    ),
    Cell(
        fault=MANY,
        where="eight processes that write 1,000 records each (SQLite and PostgreSQL)",
        sees="8,000 rows",
        tests=("tests/services/test_ledger_writers.py::test_eight_processes_that_write_a_thousand_rows_each_lose_none",),
    ),
    Cell(
        fault=PAST,
        where="an instant in the future: a gate's `at`, a backfill of an interval that has not ended, `airflow slo status --at`",
        sees="the task fails without a retry, the command exits with 2; nothing is recorded",
        tests=(
            "tests/airflow/test_run_instant.py::test_gate_at_in_the_future_is_refused",
            "tests/airflow/test_run_instant.py::test_gate_in_a_backfill_of_an_interval_that_has_not_ended_is_refused",
            "tests/unit/slo/test_monitor.py::test_evaluate_in_future_raises_beyond_clock_tolerance",
        ),
    ),
    Cell(
        fault=PAST,
        where="a backfill of twelve runs, each with a check of the present",
        sees="one observation that counts; a spent budget stays spent",
        tests=("tests/e2e/test_times_stack.py::test_a_backfill_mends_no_budget",),
    ),
    Cell(
        fault=PAST,
        where="eight processes that observe the same at once, for runs that are caught up (SQLite and PostgreSQL)",
        sees="one row that counts",
        tests=("tests/services/test_ledger_writers.py::test_runs_that_observe_the_same_at_once_leave_one_row_that_counts",),
    ),
    Cell(
        fault=PAST,
        where="one of several mapped gates is unknown; operators with `gate=` in their task group and behind it",
        sees="operators whose own gate allows act, all others fail without a change",
        tests=("tests/e2e/test_times_stack.py::test_behind_mapped_gates_only_what_its_own_gate_allows_acts",),
    ),
    Cell(
        fault=PAST,
        where="a backfill of a partition: a gate, and what acts",
        sees="the decision of the partition's start, or a task that fails and asks for `at`; what acts fails without a change",
        tests=("tests/e2e/test_times_stack.py::test_a_backfill_of_a_partition_judges_the_partition_and_changes_nothing",),
    ),
    Cell(
        fault=PAST,
        where="a log, counters or checks that stopped, with `airflow-slo/max-silence` (Prometheus, PostgreSQL, the ledger)",
        sees="the status is NO_DATA, the decision unknown",
        tests=(
            "tests/services/test_silence_services.py::test_prometheus_counter_that_stands_still_is_silent",
            "tests/services/test_silence_services.py::test_sql_log_that_stopped_twenty_days_ago_is_silent",
            "tests/unit/slo/test_silence.py::TestLedger::test_stopped_checks_are_no_data",
        ),
    ),
    Cell(
        fault=AIRFLOW,
        where="gates and branches that block, plain, mapped and in mapped task groups over lists and XComs",
        sees="what is blocked is skipped or `upstream_failed`, for its own map index or altogether, and does not run",
        tests=(
            "tests/e2e/test_blocking_stack.py::test_blocked_tasks_of_every_form_do_not_run",
            "tests/e2e/test_blocking_stack.py::test_allowed_tasks_of_every_form_run",
        ),
    ),
    Cell(
        fault=AIRFLOW,
        where="a task that is blocked, and that somebody clears alone",
        sees="it is skipped again, or fails over the gate that failed",
        tests=("tests/e2e/test_blocking_stack.py::test_blocked_tasks_that_are_cleared_alone_do_not_run",),
    ),
    Cell(
        fault=AIRFLOW,
        where="a gate or branch with asset events among its outlets, also by an alias",
        sees="an event leaves it only where it allowed; no DAG starts for a freeze",
        tests=("tests/e2e/test_blocking_stack.py::test_events_leave_only_what_allowed",),
    ),
    Cell(
        fault=CLEARED,
        where="a gate or branch that froze, after the data has recovered (in the task runner, and on real components)",
        sees="it stays frozen until its cool-down is over and its exit level is passed; both decisions are listed",
        tests=(
            "tests/airflow/test_cleared_gates.py::TestClearedAfterADecision::test_clearing_a_frozen_gate_does_not_thaw_it",
            "tests/airflow/test_cleared_gates.py::TestClearedAfterADecision::test_clearing_a_frozen_short_circuit_does_not_thaw_it",
            "tests/e2e/test_clearing_stack.py::test_clearing_does_not_thaw_and_marking_as_successful_lets_nothing_go",
        ),
    ),
    Cell(
        fault=APART,
        where="gate, sensor, incident, promotion and watch, where tasks run on several machines and the ledger is a file",
        sees="the task fails at once and says what to set; the watch says that nothing is known",
        tests=(
            "tests/airflow/test_unshared_ledger.py::test_a_gate_and_a_sensor_decide_nothing",
            "tests/airflow/test_unshared_ledger.py::test_an_incident_is_not_taken",
            "tests/airflow/test_unshared_ledger.py::test_a_promotion_that_the_others_would_not_know_of_is_not_made",
            "tests/airflow/test_unshared_ledger.py::test_a_watch_tells_that_it_remembers_nothing",
        ),
    ),
    Cell(
        fault=APART,
        where="a process that opened the ledger before it was upgraded, of this release and of the one before",
        sees="what it writes is refused; the message says to restart it",
        tests=(
            "tests/unit/ledger/test_environments.py::TestMigration::test_an_insert_of_a_release_with_schema_3_is_refused_and_told_why",
            "tests/unit/ledger/test_environments.py::TestMigration::test_an_older_upsert_of_a_row_that_is_there_is_refused",
            "tests/unit/ledger/test_environments.py::TestMigration::test_a_process_that_opened_an_older_schema_stops",
        ),
    ),
)
