"""Studies a second by the clock: only whole windows of warm steps count."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from r2cmn.callbacks.speed import Speed


@pytest.fixture
def clock(monkeypatch):
    time = SimpleNamespace(now=0.0)
    monkeypatch.setattr("r2cmn.callbacks.speed.time", SimpleNamespace(perf_counter=lambda: time.now))
    return time


MODULE = SimpleNamespace(device=torch.device("cpu"))


def epoch(speed, clock, seconds):
    """Train on batches of 4 that take so many seconds each."""
    speed.on_train_epoch_start(None, MODULE)
    for number, each in enumerate(seconds):
        clock.now += each
        trainer = SimpleNamespace(is_last_batch=number == len(seconds) - 1)
        speed.on_train_batch_end(trainer, MODULE, None, SimpleNamespace(index=range(4)), number)


def test_the_rate_of_training_is_the_median_of_warm_windows(clock):
    speed = Speed(every=2, warm_up=3)
    speed.on_fit_start(None, MODULE)
    # three steps of warm-up; the fourth opens a window that two steps fill; the last step is a window of its own
    epoch(speed, clock, [50, 50, 50, 9, 1, 3, 4])
    assert speed.rates == {"train_studies_per_second": pytest.approx((8 / 4 + 4 / 4) / 2)}
    # the first step of an epoch waits for the loader
    epoch(speed, clock, [99, 0.5, 0.5])
    assert speed.rates == {"train_studies_per_second": 2.0}
    speed.on_fit_start(None, MODULE)
    assert speed.rates == {}


def test_the_rate_of_a_test_is_of_all_its_studies(clock):
    speed = Speed()
    speed.on_test_epoch_start(None, MODULE)
    clock.now += 100
    for seconds, num_studies in ((1, 4), (2, 4), (1, 2)):
        batch = SimpleNamespace(index=range(num_studies))
        speed.on_test_batch_start(None, MODULE, batch, 0)
        clock.now += seconds
        speed.on_test_batch_end(None, MODULE, None, batch, 0)
    clock.now += 100  # scoring
    assert speed.rates == {"test_studies_per_second": 2.5}


def test_what_is_too_short_is_absent(clock):
    speed = Speed(every=2, warm_up=3)
    epoch(speed, clock, [1, 1, 1, 1])
    assert speed.rates == {}


@pytest.mark.parametrize("values", [{"every": 0}, {"warm_up": -1}])
def test_impossible_values_are_refused(values):
    with pytest.raises(ValueError, match=r"callbacks\.speed"):
        Speed(**values)
