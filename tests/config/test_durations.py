"""Durations: what a person writes, in seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.config import Config, Duration, load_config, option
from counterpoise.exceptions import InputError


class Limit(Config):
    """A setting with a limit of time."""

    budget: Duration | None = option(None, "Time limit.", metavar="TIME")


def seconds_of(value):
    return load_config(Limit, given={("budget",): value}).budget


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("10 min", 600),
        ("1h30m", 5400),
        ("1H 30M 5S", 5405),
        ("1.5h", 5400),
        ("45", 45),
        (45, 45),
        (0.5, 0.5),
    ],
)
def test_durations_are_read_in_seconds(written, seconds):
    assert seconds_of(written) == seconds


@given(hours=st.integers(0, 99), minutes=st.integers(0, 99), seconds=st.integers(1, 99))
def test_the_parts_add_up(hours, minutes, seconds):
    assert seconds_of(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


@pytest.mark.parametrize(
    "written", ["", "0", "0m", "-5", "10x", "m", "5m1h", "nan", "inf", True, "1e3", "2h5", "9" * 400]
)
def test_what_is_no_duration_is_refused_with_an_example(written):
    with pytest.raises(
        InputError, match=r"`budget`: found .* expected a time above 0, such as 90s, 10m or 1h30m"
    ):
        seconds_of(written)


def test_no_duration_is_no_limit():
    assert Limit().budget is None
