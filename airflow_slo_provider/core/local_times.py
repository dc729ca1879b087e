"""Moments as others write them, in UTC: nothing that is no moment passes for one."""

from __future__ import annotations

from datetime import UTC, datetime, time, tzinfo


def in_utc(moment: datetime, *, zone: tzinfo | None = None) -> datetime:
    """Return a moment in UTC.

    :param zone: where its time was read off a clock, for a moment that does not say. Of an hour that happens twice this is the
        earlier; midnight is the beginning of its day, also where clocks go forward at midnight
    :raises ValueError: for one beyond the years 1 to 9999, or that no clock of the zone showed
    """
    try:
        if moment.utcoffset() is not None:
            return moment.astimezone(UTC)
        found = moment.replace(tzinfo=zone, fold=0).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment} is beyond the years 1 to 9999 in UTC") from None
    # A time that the clocks jumped over does not come back as itself.
    if moment.time() != time.min and found.astimezone(zone).replace(tzinfo=None) != moment:
        raise ValueError(f"{moment} never was in {zone}, where the clocks went forward over it; is it of another time zone?")
    return found
