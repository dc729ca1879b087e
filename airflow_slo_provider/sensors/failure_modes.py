"""Handle failures of sensors that defer as ``BaseSensorOperator.execute`` handles those of other sensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

#: Exceptions that end the wait even with ``silent_fail``.
FINAL = (AirflowFailException, AirflowSensorTimeout, AirflowSkipException)


@contextmanager
def skip_on_failure(sensor: BaseSensorOperator) -> Iterator[None]:
    """Skip the task on an exception if ``never_fail`` is set, and on a final one also if ``soft_fail`` is set.

    :param sensor: the sensor
    :raises AirflowSkipException: instead of the exception
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, AirflowSkipException) and (sensor.never_fail or (sensor.soft_fail and isinstance(error, FINAL))):
            raise AirflowSkipException(str(error)) from error
        raise
