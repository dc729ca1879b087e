"""Read the instant that something is evaluated for; the future is refused.

Nothing can be measured of the future, and of a log that is asked about it the old failures have left the window: the budget
would look as if it had recovered.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

#: How far an instant may lie ahead of this machine's clock: clocks differ.
AHEAD = timedelta(seconds=60)


def read_instant(at: datetime | str, *, what: str = "at") -> datetime:
    """Read the instant of an evaluation.

    :param at: an aware datetime, or one as ISO 8601 text
    :param what: its name in messages
    :raises ValueError: when it is no instant, has no time zone or lies in the future
    """
    moment = parse_instant(at, what=what)
    refuse_future(moment, what=what)
    return moment


def parse_instant(at: datetime | str, *, what: str = "at") -> datetime:
    """Read an instant that nothing is measured at, such as the end of a listing; it may lie in the future.

    :param at: an aware datetime, or one as ISO 8601 text
    :param what: its name in messages
    :raises ValueError: when it is no instant, or has no time zone
    """
    moment = at
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment.strip())
        except ValueError:
            raise ValueError(f"{what}={at!r} is no instant; write ISO 8601, e.g. 2026-11-24T05:00:00+00:00") from None
    if not isinstance(moment, datetime):
        raise ValueError(f"{what}={at!r} is a {type(at).__name__}, not an instant")
    if moment.tzinfo is None:
        raise ValueError(f"{what}={at!r} has no time zone; write one, e.g. 2026-11-24T05:00:00+00:00")
    return moment


def refuse_future(moment: datetime, *, what: str) -> None:
    """Refuse an instant that lies more than :data:`AHEAD` in the future.

    :param moment: the instant (aware)
    :param what: its name in the message
    :raises ValueError: saying how far ahead it is
    """
    now = datetime.now(UTC)
    if moment > now + AHEAD:
        raise ValueError(
            f"{what} {moment.isoformat()} lies in the future (it is {now.isoformat(timespec='seconds')}), of which nothing can "
            "be measured; name an instant that has passed, or compare the clocks"
        )
