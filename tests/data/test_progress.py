import pytest

from r2cmn.data import progress
from r2cmn.data.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, to be set by a test: `clock[0] = 30`."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_a_minute_with_the_rate_of_this_run(clock, capsys):
    with Progress("images", total=10_000) as shown:
        shown.advance(4_000, is_new=False)
        clock[0] = 30
        shown.advance(1_500)
        assert capsys.readouterr().err == ""
        clock[0] = 60
        shown.advance(1_500)
        assert capsys.readouterr().err == "7,000 of 10,000 images, 50/s, 1 min left\n"
        clock[0] = 100
        shown.advance(1_000)
    assert capsys.readouterr().err == ""
