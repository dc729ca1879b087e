"""Parse the time of an evaluation; a time in the future is refused.

Nothing can be measured in the future. For a log queried at a future time, old failures would have left the window, and the
budget would look as if it had recovered.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

#: Maximum time by which a timestamp may be ahead of this machine's clock, because clocks differ.
AHEAD = timedelta(seconds=60)


def read_evaluation_time(at: datetime | str, *, what: str = "at") -> datetime:
    """Parse the time of an evaluation.

    :param at: an aware datetime, or one as ISO 8601 text
    :param what: its name in messages
    :return: the aware datetime
    :raises ValueError: when it is not a timestamp, has no time zone or lies in the future
    """
    timestamp = parse_timestamp(at, what=what)
    refuse_future(timestamp, what=what)
    return timestamp


def parse_timestamp(at: datetime | str, *, what: str = "at") -> datetime:
    """Parse a timestamp that may lie in the future, such as the end of a listing.

    :param at: an aware datetime, or one as ISO 8601 text
    :param what: its name in messages
    :raises ValueError: when it is not a timestamp, or has no time zone
    """
    try:
        timestamp = datetime.fromisoformat(at.strip()) if isinstance(at, str) else at
    except ValueError:
        raise ValueError(f"{what}={at!r} is not a timestamp; write ISO 8601, e.g. 2026-11-24T05:00:00+00:00") from None
    if not isinstance(timestamp, datetime):
        raise ValueError(f"{what}={at!r} is a {type(at).__name__}, not a timestamp")
    if timestamp.tzinfo is None:
        raise ValueError(f"{what}={at!r} has no time zone; write one, e.g. 2026-11-24T05:00:00+00:00")
    return timestamp


def refuse_future(timestamp: datetime, *, what: str) -> None:
    """Refuse a timestamp more than :data:`AHEAD` in the future.

    :param timestamp: the timestamp (aware)
    :param what: its name in the message
    :raises ValueError: when it is further ahead; the message says by how much
    """
    now = datetime.now(UTC)
    if timestamp > now + AHEAD:
        clock = f"it is {now.isoformat(timespec='seconds')}"
        raise ValueError(f"{what} {timestamp.isoformat()} lies in the future ({clock}); use a past time, or compare the clocks")
