"""The written form of values: dates, times and decimals of any size, and what a text is as metadata."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.io.arrow_values import id_text
from dolma_pipeline.io.written import (
    TooDeepError,
    date_text,
    decimal_text,
    duration_text,
    interval_text,
    json_text,
    member_text,
    metadata_text,
    text_or_none,
    time_text,
    timestamp_text,
)

PARIS = dt.timezone(dt.timedelta(hours=2))
EPOCH = dt.datetime(1970, 1, 1)
DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", ""),
        ('a "quoted" é', 'a "quoted" é'),
        (7, "7"),
        (-(2**63), "-9223372036854775808"),
        (2**64 - 1, "18446744073709551615"),
        (True, "true"),
        (7.0, "7.0"),
        (1e22, "1e+22"),
        (2**70, "1180591620717411303424"),
        (float("nan"), None),
        (float("-inf"), None),
        (decimal.Decimal("1.50"), "1.50"),
        (decimal.Decimal("7"), "7"),
        (decimal.Decimal("0E-10"), "0.0000000000"),
        (decimal.Decimal("1E+3"), "1000"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (b"text", "text"),
        (b"\xfe\xff", "feff"),
        (dt.date(2024, 1, 2), "2024-01-02"),
        (dt.time(7, 8), "07:08:00"),
        (dt.datetime(2020, 5, 6, 7, 8, 9, 10), "2020-05-06T07:08:09.000010"),
        (dt.datetime(2020, 5, 6, 7, 8, tzinfo=PARIS), "2020-05-06T07:08:00+02:00"),
        (dt.timedelta(days=1, seconds=7384), "1 day, 2:03:04"),
        (pa.scalar((1, 2, 3_500_000_000), pa.month_day_nano_interval()).as_py(), "P1M2DT3.5S"),
        ([1, "a"], '[1,"a"]'),
        ({"a": decimal.Decimal("1.50"), "b": [uuid.UUID(int=1)]}, '{"a":"1.50","b":["' + str(uuid.UUID(int=1)) + '"]}'),
    ],
)
def test_an_id_is_its_text_without_quotes(value: object, text: str | None) -> None:
    assert id_text(value) == text
    assert text_or_none(value) == text


def test_what_has_no_form_is_an_error_of_the_caller() -> None:
    with pytest.raises(TypeError):
        text_or_none(object())


@given(st.integers(-(2**31), 2**31 - 1))
def test_dates_of_all_years_are_iso(days: int) -> None:
    year, month, day = (int(part) for part in str(np.datetime64(days, "D")).rsplit("-", 2))
    text = date_text(days)
    assert text[-6:] == f"-{month:02d}-{day:02d}"
    assert int(text[:-6]) == year
    assert len(text[:-6].lstrip("+-")) >= 4
    assert text.startswith("+") == (year > 9999)
    assert text.startswith("-") == (year < 0)
    if 1 <= year <= 9999:
        assert text == (dt.date(1970, 1, 1) + dt.timedelta(days=days)).isoformat()


def test_dates_outside_python() -> None:
    first = (dt.date(1, 1, 1) - dt.date(1970, 1, 1)).days
    last = (dt.date(9999, 12, 31) - dt.date(1970, 1, 1)).days
    assert [date_text(day) for day in (first, first - 1, first - 366, first - 367)] == [
        "0001-01-01",
        "0000-12-31",
        "0000-01-01",
        "-0001-12-31",
    ]
    assert (date_text(last), date_text(last + 1)) == ("9999-12-31", "+10000-01-01")


@given(st.integers(0, DAY - 1))
def test_a_time_of_day_is_written_as_python_does(micros: int) -> None:
    assert time_text(micros) == (EPOCH + dt.timedelta(microseconds=micros)).time().isoformat()


@given(st.integers(-(10**20), 10**20))
def test_times_outside_a_day_and_long_durations_can_be_read_back(micros: int) -> None:
    hours, minutes, seconds = time_text(micros).lstrip("-").split(":")
    read = (int(hours) * 60 + int(minutes)) * 60_000_000 + round(decimal.Decimal(seconds) * 1_000_000)
    assert (-read if time_text(micros).startswith("-") else read) == micros
    days, _, rest = duration_text(micros).rpartition(", ")
    hours, minutes, seconds = rest.split(":")
    assert int(hours) < 24
    read = (int(hours) * 60 + int(minutes)) * 60_000_000 + round(decimal.Decimal(seconds) * 1_000_000)
    assert int(days.split()[0] if days else 0) * DAY + read == micros


@given(st.timedeltas())
def test_durations_are_written_as_python_does(duration: dt.timedelta) -> None:
    assert duration_text(duration // dt.timedelta(microseconds=1)) == str(duration)
    assert id_text(duration) == str(duration)


@given(st.datetimes())
def test_timestamps_are_written_as_python_does(moment: dt.datetime) -> None:
    micros = (moment - EPOCH) // dt.timedelta(microseconds=1)
    assert timestamp_text(micros, None) == moment.isoformat()
    assert timestamp_text(micros, "UTC") == moment.isoformat() + "+00:00"


def test_zones() -> None:
    summer = (dt.datetime(2020, 7, 1, 12) - EPOCH) // dt.timedelta(microseconds=1)
    assert timestamp_text(summer, "Europe/Paris") == "2020-07-01T14:00:00+02:00"
    assert timestamp_text(summer, "+05:30") == "2020-07-01T17:30:00+05:30"
    assert timestamp_text(summer, "-0800") == "2020-07-01T04:00:00-08:00"
    for unknown in ("Mars/Olympus", "", "../etc/passwd", "America", "+99:00", "\0"):
        assert timestamp_text(summer, unknown) == "2020-07-01T12:00:00+00:00"


def test_moments_outside_python() -> None:
    last = (dt.datetime(9999, 12, 31, 23, 30) - EPOCH) // dt.timedelta(microseconds=1)
    assert timestamp_text(last, None) == "9999-12-31T23:30:00"
    assert timestamp_text(last, "+05:30") == "9999-12-31T23:30:00+00:00"  # there it is the year 10000
    assert timestamp_text(last + 1_800_000_001, None) == "+10000-01-01T00:00:00.000001"
    first = -(2**63) + 1
    assert timestamp_text(first, None) == str(np.datetime64(first, "us")) == "-290308-12-21T19:59:05.224193"
    assert timestamp_text(first, "UTC") == "-290308-12-21T19:59:05.224193+00:00"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=20, min_value=-(10**40), max_value=10**40))
def test_decimals_have_all_digits_and_no_exponent(value: decimal.Decimal) -> None:
    text = decimal_text(value)
    assert "E" not in text
    assert decimal.Decimal(text) == value
    assert len(text.partition(".")[2]) == 20


def test_intervals() -> None:
    assert interval_text(0, 0, 0) == "P0M0DT0S"
    assert interval_text(-14, 3, -1_500_000_999) == "P-14M3DT-1.5S"
    assert interval_text(0, 0, -999) == "P0M0DT0S"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        (' \n{"a": {"b": []}}\t', {"a": {"b": []}}),
        ("{}", {}),
        ("plain", "plain"),
        ("", ""),
        ("[1, 2]", "[1, 2]"),
        ("7", "7"),
        ("null", "null"),
        ('"quoted"', '"quoted"'),
        ("{broken}", "{broken}"),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": 1} {"b": 2}', '{"a": 1} {"b": 2}'),
        ("\ufeff{}", "\ufeff{}"),
        ("\xa0{}", "\xa0{}"),
        ("{\0}", "{\0}"),
    ],
)
def test_a_text_is_the_object_that_it_spells_or_itself(text: str, value: object) -> None:
    assert orjson.loads(metadata_text(text)) == value


@given(st.dictionaries(st.text(max_size=3), st.one_of(st.integers(), st.text(max_size=5), st.none()), max_size=4))
def test_an_object_stays_as_it_was_written(value: dict[str, object]) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    assert metadata_text(f"  {text}\n") == text


def test_what_is_too_deep_is_told_as_a_limit() -> None:
    def nested(depth: int) -> object:
        value: object = 1
        for _ in range(depth):
            value = [value]
        return value

    assert json_text({"a": nested(253)}).startswith('{"a":[[')
    assert member_text(nested(253)) == "[" * 253 + "1" + "]" * 253
    words = r"^objects or lists more than 253 levels deep$"
    for depth in (254, 300, 2000):
        with pytest.raises(TooDeepError, match=words):
            member_text(nested(depth))
    assert metadata_text('{"a":' * 253 + "1" + "}" * 253).startswith('{"a":{"a"')
    for depth in (254, 1000, 1500):
        with pytest.raises(TooDeepError, match=words):
            metadata_text('{"a":' * depth + "1" + "}" * depth)
