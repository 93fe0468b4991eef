import os
import signal

import pytest

from mnist_paddle.system import console, startup
from mnist_paddle.system.signals import StopRequest

AMD = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu sse4_2 avx2 fma"


@pytest.mark.parametrize(
    ("cpuinfo", "needed"),
    [
        (AMD, True),
        (AMD.replace("avx2", "avx"), False),
        (AMD.replace(" fma", ""), False),
        (AMD.replace("AuthenticAMD", "GenuineIntel"), False),
    ],
)
def test_the_amd_switch_is_set_only_where_it_helps_and_is_safe(tmp_path, cpuinfo, needed):
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    assert startup.needs_amd_switch(str(file)) is needed


def test_without_cpuinfo_the_switch_is_not_set(tmp_path):
    assert startup.needs_amd_switch(str(tmp_path / "none")) is False


def test_the_users_variables_are_kept():
    environment = {"MKL_DEBUG_CPU_TYPE": "4", "GLOG_minloglevel": "0"}
    startup.prepare(environment)
    assert environment == {"MKL_DEBUG_CPU_TYPE": "4", "GLOG_minloglevel": "0"}


def test_the_first_signal_requests_a_stop_and_a_second_sigint_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_is_one_line(capsys):
    assert console.fail(ValueError("two\n  lines"), 2) == 2
    assert capsys.readouterr().err == "error: two lines\n"
