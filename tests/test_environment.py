"""The environment of a process: a launcher's variables, proxies, ignored signals, a terminal that is closed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import SCRIPTS
from digits import make_digits, write_npz

from mnist_paddle import UsageError
from mnist_paddle.benchmarks import rank_worker
from mnist_paddle.distributed import communication, launch_env, launcher, rendezvous
from mnist_paddle.experiment import checkpoint
from mnist_paddle.system import gpus, startup
from mnist_paddle.system.signals import STOP_SIGNALS, StopRequest, default_signals

pytestmark = pytest.mark.commands

pty = pytest.importorskip("pty")  # Windows has no terminals of this kind, and other signals

QUICK = ["--model", "linear", "--epochs", "1", "--device", "cpu", "--threads", "1", "--dataset", "custom", "--log_every", "1"]
LONG = [*QUICK, "--epochs", "100000", "--checkpoint_every", "10", "--output_dir", "run"]
# One of two ranks, as a launcher would have started it.
RANK = {
    "PADDLE_TRAINER_ID": "1",
    "PADDLE_TRAINERS_NUM": "2",
    "PADDLE_LOCAL_SIZE": "2",
    "PADDLE_TRAINER_ENDPOINTS": "10.255.255.1:45671,10.255.255.1:45672",
    "PADDLE_CURRENT_ENDPOINT": "10.255.255.1:45672",
}
LEFT_OVER = [
    *({"PADDLE_TRAINERS_NUM": text} for text in ("2", "two", "0", "-1", "1.5", "9" * 40, "\u0662")),
    *({"PADDLE_TRAINER_ID": text} for text in ("7", "-1", "x")),
    *({"PADDLE_LOCAL_SIZE": text} for text in ("x", "0", "2")),
    {"PADDLE_LOCAL_RANK": "x"},
    {"FLAGS_selected_gpus": "x"},
    {**RANK, "PADDLE_TRAINER_ID": "2"},
    {**RANK, "PADDLE_LOCAL_SIZE": "3"},
    {**RANK, "PADDLE_TRAINER_ENDPOINTS": "10.255.255.1:45671"},
    {**RANK, "PADDLE_TRAINER_ENDPOINTS": "here,there"},
    {**RANK, "PADDLE_MASTER": "10.255.255.1"},
    *({name: text for name, text in RANK.items() if name != left} for left in ("PADDLE_TRAINER_ID", "PADDLE_CURRENT_ENDPOINT")),
    {name: text for name, text in RANK.items() if name != "PADDLE_TRAINER_ENDPOINTS"},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(write_npz(tmp_path_factory.mktemp("data") / "digits.npz", make_digits(480), make_digits(80, seed=1)))


@pytest.fixture(scope="module")
def closed(tmp_path_factory, data):
    """A run whose terminal was closed while it trained: its folder, and how the process ended."""
    folder = tmp_path_factory.mktemp("closed")
    command = [sys.executable, str(SCRIPTS / "train.py"), *LONG, "--data_dir", data]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execv(sys.executable, command)
    last = folder / "run" / "last.safetensors"
    for _ in range(600):
        time.sleep(0.1)
        if terminal and last.exists() and checkpoint.load(last)[1]["step"] >= 10:
            os.close(terminal)
            terminal = None
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return folder / "run", status
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("it did not end")


def set_only(monkeypatch, variables: dict) -> None:
    for name in launch_env.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)


@pytest.mark.parametrize("variables", LEFT_OVER, ids=str)
def test_variables_that_no_launcher_has_set_are_rejected_by_name(monkeypatch, variables):
    set_only(monkeypatch, variables)
    with pytest.raises(UsageError) as error:
        communication.world_size()
    assert any(name in str(error.value) for name in variables)
    assert "unset it, or start the ranks with scripts/launch.py" in str(error.value)
    assert "\n" not in str(error.value)


def test_empty_variables_count_as_unset(monkeypatch):
    set_only(monkeypatch, dict.fromkeys(launch_env.VARIABLES, " "))
    assert launch_env.launch_env() == launch_env.LaunchEnv()
    set_only(monkeypatch, {**RANK, "FLAGS_selected_gpus": "3,4", "PADDLE_LOCAL_RANK": ""})
    assert launch_env.launch_env() == launch_env.LaunchEnv(1, 2, 1, 2, 3, True)


def test_training_with_variables_left_over_ends_at_once_or_works(run_script, data):
    empty = run_script("train", *QUICK, "--data_dir", data, "--dry_run", **dict.fromkeys(launch_env.VARIABLES, ""))
    assert (empty.returncode, empty.stderr) == (0, "")
    for variables in ({"PADDLE_TRAINERS_NUM": "2"}, {"PADDLE_TRAINER_ID": "x"}):  # Paddle's import fails on the second
        done = run_script("train", *QUICK, "--data_dir", data, "--dry_run", **variables)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {next(iter(variables))}=")
        assert done.stderr.count("\n") == 1


def test_scripts_without_ranks_work_whatever_is_left_over(run_script, data, closed):
    for variables in ({"PADDLE_TRAINERS_NUM": "2"}, {"PADDLE_TRAINER_ID": "x"}, RANK):
        assert run_script("data", "--dataset", "custom", "--data_dir", data, **variables).returncode == 0
    done = run_script("evaluate", closed[0] / "last.safetensors", "--json", **RANK)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["count"] == 80


def test_fit_in_python_rejects_variables_left_over(monkeypatch, data):
    code = "from mnist_paddle import UsageError\ntry: from mnist_paddle import fit\nexcept UsageError as e: print(e)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PADDLE_TRAINER_ID": "x"}, capture_output=True, text=True
    )
    assert done.stdout.startswith("PADDLE_TRAINER_ID=x is not")


def test_ranks_that_never_connected_do_not_wait_for_each_other(monkeypatch):
    set_only(monkeypatch, RANK)
    with pytest.raises(UsageError, match=r"2 ranks .* not connected"):
        communication.barrier()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="timers that need no Python are Linux's")
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_rank_whose_peers_never_come_ends_by_itself(run_script, data, tmp_path, rank):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = {"PADDLE_TRAINER_ID": rank, "PADDLE_MASTER": f"10.255.255.1:{port}", communication.MEETING_SECONDS: "1"}
    flags = ["--data_dir", data, "--output_dir", "run", "--stall_seconds", "1"]
    done = run_script("train", *QUICK, *flags, PADDLE_LOG_DIR=str(tmp_path), **{**RANK, **where})
    assert done.returncode == 75
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == ["error: lost connection to the other ranks during startup: no answer for 1 s (--stall_seconds)"]
    assert next(tmp_path.glob("status.*")).read_text() == "75"  # for scripts/launch.py
    assert not (tmp_path / "run").exists()


def test_ranks_of_one_machine_connect_over_the_loopback_address():
    environment = {"PADDLE_MASTER": "10.255.255.1:4000", "MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "1"}
    communication.use_loopback(environment)
    assert environment["PADDLE_MASTER"] == "127.0.0.1:4000"
    assert "MASTER_ADDR" not in environment
    assert environment["GLOO_SOCKET_IFNAME"] == communication.interface_of("127.0.0.1")


SPELLINGS = [
    "http_proxy",
    "HTTP_PROXY",
    "Http_Proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
]


def test_launchers_use_no_proxy_and_ranks_have_it_for_downloads(monkeypatch):
    for name in SPELLINGS:
        monkeypatch.setenv(name, f"http://{name}.invalid")
    monkeypatch.setenv("POD_IP", "10.255.255.1")
    environment = launcher.rank_environment(1, nproc=2)
    assert not [name for name in environment if "proxy" in name.lower() and name != startup.KEPT_PROXIES]
    assert "POD_IP" not in environment
    assert json.loads(environment["MNIST_PADDLE_LAUNCH"]) == {"nnodes": 1, "node_rank": 0, "master": None, "nproc": 2}
    startup.restore_proxies(environment)
    assert all(environment[name] == f"http://{name}.invalid" for name in SPELLINGS)


@pytest.mark.parametrize("text", ["", "x", "[1]", "null", '{"http_proxy": 1}'])
def test_proxies_that_no_launcher_has_written_are_passed_over(text):
    environment = {startup.KEPT_PROXIES: text}
    startup.restore_proxies(environment)
    assert environment == {}


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "10.0.0.1:0", "localhost:65536", "[::1]:6170", "::1:6170", "http://a:1", "a b:1", ":1", "a:"]
)
def test_a_malformed_master_is_rejected(text):
    with pytest.raises(UsageError, match="--master "):
        rendezvous.find_master(text)


def test_a_master_may_be_a_host_name_and_must_be_this_machine():
    master = rendezvous.find_master("localhost:6170")
    assert (master.address, master.port) == ("127.0.0.1", 6170)
    assert rendezvous.own_address(master) == "127.0.0.1"
    with pytest.raises(UsageError, match=r"has no address 192\.0\.2\.1"):  # an address for documentation
        rendezvous.check_port(rendezvous.Master("192.0.2.1:6170", "192.0.2.1", 6170))


def test_the_actual_reason_for_a_missing_gpu_is_given(monkeypatch):
    assert "install paddlepaddle-gpu" in gpus.unavailable_reason(gpu_build=False)
    monkeypatch.setattr(gpus, "has_driver", lambda: False)
    assert "no NVIDIA driver found" in gpus.unavailable_reason(gpu_build=True)
    monkeypatch.setattr(gpus, "has_driver", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert "CUDA_VISIBLE_DEVICES=7 may hide it" in gpus.unavailable_reason(gpu_build=True)


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_a_signal_that_the_parent_ignores_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        default_signals()
        with StopRequest() as stop:
            os.kill(os.getpid(), number)
            assert stop.signal is None
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_a_stop_before_the_run_began_is_one_line_and_no_error(data, number, tmp_path):
    # Paddle itself waits, as it would while it is being imported.
    code = "import sys, time, mnist_paddle.system.signals as s; s.end_at_signal(); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(number)
        assert process.stderr.read() == f"stopped by {number.name} before the run started\n"
    assert process.returncode == 128 + number


@pytest.mark.parametrize("begin", ["s.end_at_signal()", "pass"], ids=["with a handler", "without one"])
def test_sigterm_during_the_import_of_paddle_prints_no_trace(begin):
    # The signal arrives when Paddle has just set its own handler.
    code = f"""import os, signal, mnist_paddle.system.signals as s
{begin}
with s.importing_paddle():
    import paddle
    os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    handled = "end_at" in begin
    said = "stopped by SIGTERM before the run started\n" if handled else ""
    assert (done.stdout, done.stderr, done.returncode) == ("", said, 143 if handled else -signal.SIGTERM)


def test_a_closed_terminal_saves_the_run(closed):
    folder, status = closed
    assert os.WIFEXITED(status)
    assert os.WEXITSTATUS(status) == 129
    assert checkpoint.load(folder / "last.safetensors")[1]["step"] >= 10


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), ([], 2), (["x"], 2)])
def test_the_worker_of_the_scaling_benchmark_names_the_command_to_run(arguments, status):
    done = subprocess.run([sys.executable, rank_worker.__file__, *arguments], capture_output=True, text=True)
    assert done.returncode == status
    assert "python scripts/benchmark.py scaling" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
