"""The first signal is answered at once and asks for a stop; the second stops."""

import signal

import pytest

from saccade.training.signals import interrupt_on_signals, stop_on_signals

STOPPING = "stopping: what is done is saved first; Ctrl-C again stops at once"


@pytest.fixture(autouse=True)
def _nothing_is_ignored():
    """A shell's background jobs, and nohup, begin with signals ignored, and ignored ones stay so."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(n, signal.default_int_handler if n == signal.SIGINT else signal.SIG_DFL) for n in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_training_is_asked_to_stop_and_then_interrupted(number, capfd):
    before = signal.getsignal(number)
    with stop_on_signals(shown=True) as should_stop:
        assert not should_stop()
        signal.raise_signal(number)
        assert should_stop()
        assert capfd.readouterr().err.strip() == STOPPING
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert capfd.readouterr().err == ""
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_comparison_is_interrupted_each_time(number, capfd):
    with interrupt_on_signals(shown=True):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert capfd.readouterr().err.strip() == STOPPING


def test_what_is_ignored_stays_so(monkeypatch):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as should_stop:
            signal.raise_signal(signal.SIGHUP)
            assert not should_stop()
    finally:
        signal.signal(signal.SIGHUP, before)
