import os
import signal
import threading

import pytest

from hybrid_search.training.loop.loop import deferred_interrupt


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def work(done, *, presses, error=None):
    with deferred_interrupt() as is_interrupted:
        assert not is_interrupted()
        for _ in range(presses):
            press_ctrl_c()
        assert is_interrupted()
        done.append("step")
        if error:
            raise error


def test_the_first_ctrl_c_waits_and_is_raised_at_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt):
        work(done, presses=1)
    assert done == ["step"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_strikes_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt):
        work(done, presses=2)
    assert done == []


def test_another_error_is_not_hidden_by_a_ctrl_c():
    with pytest.raises(ValueError, match="broken"):
        work([], presses=1, error=ValueError("broken"))


def test_outside_the_main_thread_nothing_is_changed():
    seen = []

    def run():
        with deferred_interrupt() as is_interrupted:
            seen.append((is_interrupted(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(False, signal.default_int_handler)]
