"""The written form of a value: what it is as text (ids, sources, times) and inside JSON (`metadata`, `extra`).

One form for a value, whatever file it comes from. JSON's own values stay as they are. Everything else is a text:

    decimal          1.50, 7, 0.0000000001     all digits, never an exponent
    uuid             00000000-0000-0000-0000-000000000007
    date             2024-01-02                ISO 8601; years outside 0 to 9999 with a sign: +10000-01-01, -0044-03-15
    time of day      07:08:00, 07:08:00.123456
    timestamp        2020-05-06T07:08:00, 2020-05-06T09:08:00+02:00
    duration         0:00:01.500000, 1 day, 2:03:04, -1 day, 23:59:59     as Python writes it
    interval         P1M2DT3.5S                months, days, seconds
    bytes            the text that they are in UTF-8, else hex

Times are cut to the microsecond. NaN and the infinities are null, as JSON has none of them. A timestamp of a zone that
is not known here, or outside the years 1 to 9999, is written in UTC.
"""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import re
import uuid
import zoneinfo

import orjson

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=dt.UTC)
_SECOND = 1_000_000  # microseconds
_DAY = 86_400 * _SECOND
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")
_MOST_LEVELS = 253


class TooDeepError(ValueError):
    """A value whose objects and lists are nested deeper than JSON is written here."""

    def __init__(self) -> None:
        super().__init__(f"objects or lists more than {_MOST_LEVELS} levels deep")


def json_text(value: object) -> str:
    """A value as JSON text.

    Raises:
        TooDeepError: orjson reads 1,024 levels and writes 254.
    """
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS).decode()
    except orjson.JSONEncodeError as error:
        if "Recursion limit" in str(error):
            raise TooDeepError from error
        raise


def member_text(value: object) -> str:
    """A value as JSON text that can be written again as the member of an object, where it is one level deeper.

    Raises:
        TooDeepError: more than 253 levels.
    """
    return json_text([value])[1:-1]


def text_or_none(value: object) -> str | None:
    """A value as text: strings as they are, null and what JSON does not have (NaN) as null, else its JSON text.

    Raises:
        TooDeepError: more than 253 levels.
    """
    if value is None or isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)  # JSON is written with 64 bits only
    text = json_text(value)
    if text.startswith('"'):
        unquoted: str = orjson.loads(text)
        return unquoted
    return None if text == "null" else text


def metadata_text(text: str) -> str:
    """The `metadata` that a text stands for, as JSON text: the object that it spells, else itself as a JSON string.

    Raises:
        TooDeepError: an object of more than 253 levels.
    """
    spelled = text.strip(" \t\n\r")  # JSON's blanks
    if not (spelled.startswith("{") and spelled.endswith("}")):
        return member_text(text)
    try:
        value = orjson.loads(spelled)
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg:  # valid, but deeper than orjson reads
            raise TooDeepError from error
        return member_text(text)
    if spelled.count("{") + spelled.count("[") > _MOST_LEVELS:
        member_text(value)
    return spelled


def _plain(value: object) -> str:
    """What orjson does not know; its hook for such values."""
    if isinstance(value, decimal.Decimal):
        return decimal_text(value)
    if isinstance(value, bytes):
        return bytes_text(value)
    if isinstance(value, (dt.date, dt.time)):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return duration_text((value.days * 86_400 + value.seconds) * _SECOND + value.microseconds)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, tuple) and hasattr(value, "nanoseconds"):  # Arrow's MonthDayNano
        return interval_text(*value)
    raise TypeError(f"no written form for a value of {type(value).__name__}")


def bytes_text(value: bytes) -> str:
    """Bytes as the text that they are in UTF-8, else as hex."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def decimal_text(value: decimal.Decimal) -> str:
    """A decimal with all its digits and no exponent."""
    return format(value, "f")


def date_text(days: int) -> str:
    """The date so many days after 1970-01-01."""
    # Howard Hinnant's civil_from_days (chrono-compatible date algorithms): years start in March, so leap days end them.
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year = era * 400 + year_of_era + (month <= 2)
    written = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+05d}"
    return f"{written}-{month:02d}-{day:02d}"


def time_text(microseconds: int) -> str:
    """The time of day so long after midnight; outside a day with more hours, or a minus."""
    sign = "-" if microseconds < 0 else ""
    seconds, micros = divmod(abs(microseconds), _SECOND)
    text = f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{micros:06d}" if micros else text


def timestamp_text(microseconds: int, zone: str | None) -> str:
    """The moment so long after 1970 began (in UTC, where there is a zone).

    Args:
        zone: a name such as Europe/Paris, or an offset such as +05:30; None: a time without one.
    """
    place = _zone(zone) if zone is not None else None
    try:
        if zone is None:
            return (_EPOCH + dt.timedelta(microseconds=microseconds)).isoformat()
        return (_EPOCH_UTC + dt.timedelta(microseconds=microseconds)).astimezone(place or dt.UTC).isoformat()
    except OverflowError:
        days, rest = divmod(microseconds, _DAY)
        return f"{date_text(days)}T{time_text(rest)}{'' if zone is None else '+00:00'}"


@functools.cache
def _zone(name: str) -> dt.tzinfo | None:
    if offset := _OFFSET.fullmatch(name):
        sign, hours, minutes = offset.groups()
        if int(hours) > 23 or int(minutes) > 59:
            return None
        length = dt.timedelta(hours=int(hours), minutes=int(minutes))
        return dt.timezone(-length if sign == "-" else length)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # not there; no name of a zone; a folder of zones
        return None


def duration_text(microseconds: int) -> str:
    """A length of time as Python's `str(timedelta)` writes it, of any size."""
    days, rest = divmod(microseconds, _DAY)
    seconds, micros = divmod(rest, _SECOND)
    text = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}" + (f".{micros:06d}" if micros else "")
    return f"{days} day{'' if abs(days) == 1 else 's'}, {text}" if days else text


def interval_text(months: int, days: int, nanoseconds: int) -> str:
    """Months, days and nanoseconds, none of which is a number of the others: ISO 8601, seconds to the microsecond."""
    micros = abs(nanoseconds) // 1000
    seconds = f"{micros // _SECOND}" + (f".{micros % _SECOND:06d}".rstrip("0") if micros % _SECOND else "")
    return f"P{months}M{days}DT{'-' if nanoseconds < 0 and micros else ''}{seconds}S"
