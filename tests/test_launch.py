"""scripts/launch.py, and two machines: `pytest -m ranks`."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import SCRIPTS
from digits import make_digits, write_npz

from mnist_paddle.distributed.supervisor import Supervisor
from mnist_paddle.experiment import checkpoint
from mnist_paddle.experiment.identical import compare

RECIPE = ["--model", "fc", "--batch_size", "40", "--log_every", "10", "--dataset", "custom", "--stall_seconds", "5"]
LONG = ["--epochs", "400", "--checkpoint_every", "20"]  # minutes, so that it is always a signal that ends it


@pytest.fixture
def data(tmp_path):
    return ["--data_dir", str(write_npz(tmp_path / "digits.npz", make_digits(480), make_digits(80, seed=1)))]


@pytest.fixture
def launch(tmp_path, data):
    """Start `launch.py` in an empty folder; what is still alive of it at the end of the test is killed."""
    started = []

    def start(*flags, script="launch", prefix=(), output_dir="run"):
        command = [*prefix, sys.executable, str(SCRIPTS / f"{script}.py"), *flags, *RECIPE, *data, "--output_dir", output_dir]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        end(process)


def end(process) -> None:
    """Kill a process and everything below it."""
    if process.poll() is None:
        for victim in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            victim.kill()
    process.communicate()


def ranks_of(process, count: int, folder: Path, step: int = 20) -> dict:
    """The ranks below a launcher, when they have trained so far: rank -> process."""
    for _ in range(600):
        assert process.poll() is None, process.communicate()
        last = folder / "last.safetensors"
        if last.exists() and checkpoint.load(last)[1]["step"] >= step:
            ranks = {}
            for child in psutil.Process(process.pid).children(recursive=True):
                command = " ".join(command_of(child))
                if "rank.py" in command and "paddle.distributed.launch" not in command:
                    ranks[int(child.environ()["PADDLE_TRAINER_ID"])] = child
            assert len(ranks) == count
            return ranks
        time.sleep(0.1)
    pytest.fail("the ranks did not train")


def command_of(process) -> list[str]:
    """The command line of a process, empty once it has ended."""
    try:
        return process.cmdline()
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return []


def finished(process, timeout=100) -> tuple:
    """Exit status, stdout and stderr."""
    stdout, stderr = process.communicate(timeout=timeout)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--nproc", "0"], "--nproc must be at least 1"),
        (["--nproc", "two"], "--nproc must be an integer; it is 'two'"),
        (["--nnodes", "2"], "--nnodes 2 needs --master HOST:PORT"),
        (["--nnodes", "2", "--master", "10.0.0.1"], "--master 10.0.0.1: write it as HOST:PORT"),
        (["--nnodes", "2", "--master", "10.0.0.1:6000", "--node_rank", "2"], "numbered from 0 to 1"),
        (["--devices", "0,1", "--device", "cpu"], "--device cpu uses none"),
        (["--device", "gpu"], "--device gpu: "),
        (["--devices", "0,1"], "--devices 0,1: "),
        (["--max_restarts", "-1"], "--max_restarts must be at least 0"),
        (["--batch-sise", "3"], "--batch-sise: there is no such flag; did you mean --batch_size?"),
        (["--sync", "server", "--parallel", "model"], "--sync server is a form of --parallel data"),
        (["--clip_norm", "1", "--parallel", "model"], "--clip_norm needs all gradients in one place"),
        (["--optimizer", "lamb", "--parallel", "columns"], "--optimizer lamb steps by whole layers"),
        (["--optimizer", "muon", "--parallel", "columns"], "--optimizer muon steps by whole layers"),
    ],
)
def test_wrong_usage_is_one_line_before_any_rank_is_started(run_script, flags, message):
    done = run_script("launch", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--nproc", "100"], "--nproc 100 is too many for the "),
        (["--batch_size", "41"], "--batch_size 41 is not divisible by 2 ranks; the nearest size that is: 40"),
        (["--nproc", "3"], "--batch_size 40 is not divisible by 3 ranks; the nearest size that is: 39"),
        (["--nproc", "4", "--nnodes", "3", "--master", "127.0.0.1:6170"], "not divisible by 12 ranks"),
        (
            ["--parallel", "model", "--nproc", "1"],
            "--parallel model splits the network over 2 ranks, and there is 1; start it with",
        ),
        (
            ["--parallel", "columns", "--nproc", "1"],
            "--parallel columns splits a layer over 2 or more ranks, and there is 1; start it with",
        ),
        (["--parallel", "model", "--model", "linear"], "this network has one layer"),
        (["--parallel", "columns", "--model", "cnn"], "needs two consecutive fully connected layers"),
        (["--parallel", "columns", "--model_args", "widths=[7,7]"], "the 7 columns of layer"),
        (["--data_dir", "nowhere"], "nowhere: no such file or folder"),
        (["--data_dir", "empty"], "empty"),
        (["--data_dir", "null"], "--dataset custom requires --data_dir"),
        (["--validation_size", "481"], "--validation_size 481 leaves none"),
        (["--init_from", "nowhere"], "nowhere: there is no such checkpoint"),
        (["--resume", "--output_dir", "nowhere"], "nowhere holds no run to resume"),
        (["--output_dir", "existing"], "existing already holds a run"),
        (["--nnodes", "2", "--master", "127.0.0.1:70000"], "ports go from 1 to 65535"),
        (["--nnodes", "2", "--master", "nobody.invalid:6170"], "nobody.invalid has no IPv4 address here"),
    ],
)
def test_what_can_be_rejected_is_rejected_before_a_rank_or_a_folder_is_made(tmp_path, data, run_script, flags, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "existing").mkdir()
    (tmp_path / "existing" / "config.yaml").write_text("model: fc")
    before = sorted(tmp_path.rglob("*"))
    done = run_script("launch", "--nproc", "2", *RECIPE, *data, "--output_dir", "run", *flags)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr  # no rank was announced there
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.ranks
def test_an_error_that_only_the_ranks_find_leaves_no_folder(tmp_path, run_script):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(2001):  # too many to read twice
        (folder / f"{number}.txt").touch()
    done = run_script("launch", "--nproc", "2", *RECIPE, "--data_dir", "many", "--output_dir", "run")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.name != "posix", reason="binding a port works differently there")
def test_a_port_in_use_is_named(tmp_path, data, run_script):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        flags = ["--nproc", "1", "--nnodes", "2", "--master", f"localhost:{port}", "--output_dir", "run"]
        done = run_script("launch", *RECIPE, *data, *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"port {port} is in use by another program here" in done.stderr
    assert not (tmp_path / "run").exists()


STALE = {
    "POD_IP": "10.255.255.1",
    "MASTER_ADDR": "10.255.255.1",
    "MASTER_PORT": "1",
    "PADDLE_MASTER": "10.255.255.1:1",
    "PADDLE_TRAINERS_NUM": "7",
    "http_proxy": "http://10.255.255.1:1",
    "HTTP_PROXY": "http://10.255.255.1:1",
    "All_Proxy": "socks5://10.255.255.1:1",
}


@pytest.mark.ranks
def test_ranks_of_one_machine_connect_whatever_is_left_in_the_environment(data, run_script):
    done = run_script("launch", "--nproc", "2", *RECIPE, *data, "--dry_run", **STALE)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.ranks
@pytest.mark.parametrize("nodes", [1, 2])
def test_ranks_connect_on_a_machine_with_an_unknown_host_name(launch, tmp_path, nodes):
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("setting a host name needs Linux, root and unshare")
    prefix = ["unshare", "-u", "sh", "-c", 'hostname nobody-knows-me && exec "$@"', "sh"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ["--nproc", "1", "--nnodes", "2", "--master", f"localhost:{port}"] if nodes == 2 else ["--nproc", "2"]
    started = [launch(*flags, "--node_rank", str(node), "--epochs", "1", prefix=prefix) for node in range(nodes)]
    assert [finished(process)[0] for process in started] == [0] * nodes
    assert json.loads((tmp_path / "run" / "report.json").read_text())["world_size"] == 2


@pytest.mark.ranks
def test_ignored_signals_stay_ignored_in_a_launched_run(launch, tmp_path):
    process = launch("--nproc", "2", *LONG, prefix=["sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh"])
    ranks_of(process, 2, tmp_path / "run")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    ranks_of(process, 2, tmp_path / "run", step=60)
    process.send_signal(signal.SIGTERM)
    assert finished(process)[0] == 143


@pytest.mark.ranks
@pytest.mark.parametrize("flags", [["--parallel", "model"], ["--parallel", "columns"]])
def test_a_single_rank_says_how_to_start_two(run_script, data, flags):
    done = run_script("train", *RECIPE, *data, *flags)
    assert done.returncode == 2
    assert "scripts/launch.py --nproc 2" in done.stderr


@pytest.mark.ranks
def test_a_run_of_two_ranks_from_start_to_finish(launch, tmp_path):
    status, stdout, stderr = finished(launch("--epochs", "2"))
    assert (status, stderr) == (0, "")
    lines = stdout.splitlines()
    assert lines[0].startswith("2 ranks; threads per rank: ")
    assert all(line.startswith("rank 0 | ") for line in lines[1:])
    assert sum("test accuracy" in line for line in lines) == 1
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["world_size"] == 2
    logs = {path.name for path in (tmp_path / "run" / "logs").iterdir()}
    assert {"workerlog.0", "workerlog.1"} <= logs
    assert not [name for name in logs if "env" in name or name.startswith("default")]  # they hold passwords


@pytest.mark.ranks
@pytest.mark.parametrize(("victim", "number"), [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSEGV)])
def test_when_a_rank_dies_all_end_and_the_first_death_is_reported(launch, tmp_path, victim, number):
    process = launch("--nproc", "2", *LONG)
    ranks = ranks_of(process, 2, tmp_path / "run")
    ranks[victim].send_signal(number)
    begin = time.monotonic()
    status, _, stderr = finished(process)
    assert time.monotonic() - begin < 30
    assert status == 128 + number
    assert f"rank {victim} died first, ended by {number.name}" in stderr
    assert not any(rank.is_running() for rank in ranks.values())
    checkpoint.load(tmp_path / "run" / "last.safetensors")


@pytest.mark.ranks
@pytest.mark.parametrize("flags", [[], ["--sync", "server"], ["--parallel", "model"]], ids=["replicas", "server", "pipeline"])
def test_ranks_that_diverge_end_in_the_line_of_the_main_one(launch, flags):
    recipe = ["--optimizer", "sgd", "--lr", "1e30", "--schedule", "constant", "--epochs", "4", *flags]
    status, _, stderr = finished(launch("--nproc", "2", *recipe))
    assert status == 1
    assert re.match(r"error: the (loss is|weights are) not finite at step \d+ \(.+\): try a smaller", stderr)
    assert stderr.endswith("; the last checkpoint, of step 0, is sound: run\n")
    assert stderr.count("\n") == 1


@pytest.mark.ranks
def test_a_rank_that_hangs_ends_the_others_and_itself(launch, tmp_path):
    process = launch("--nproc", "2", *LONG)
    ranks = ranks_of(process, 2, tmp_path / "run")
    ranks[1].suspend()
    status, _, stderr = finished(process)
    assert status == 75
    assert "rank 0 died first, exit status 75: lost connection to the other ranks during " in stderr
    assert "no answer for 5 s (--stall_seconds)" in stderr
    assert not any(rank.is_running() for rank in ranks.values())


@pytest.mark.ranks
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", 1)])
def test_a_signal_to_the_launcher_stops_and_saves(launch, tmp_path, number):
    process = launch("--nproc", "2", *LONG)
    ranks = ranks_of(process, 2, tmp_path / "run")
    process.send_signal(number)
    status, _, stderr = finished(process)
    assert status == 128 + number
    assert stderr.startswith(f"stopped by {number.name} at step ")
    assert stderr.count("\n") == 1
    assert "launch.py --nproc 2 --resume --output_dir run" in stderr
    assert not any(rank.is_running() for rank in ranks.values())


@pytest.mark.ranks
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_ranks_have_started_ends_the_launcher(launch, tmp_path, number):
    process = launch("--nproc", "2", *LONG)
    assert process.stdout.readline().startswith("2 ranks")
    process.send_signal(number)
    begin = time.monotonic()
    status, _, stderr = finished(process)
    assert time.monotonic() - begin < 30
    assert status == 128 + number
    assert stderr.startswith(f"stopped by {number.name} before the ")
    assert stderr.count("\n") == 1
    assert not list(tmp_path.glob("run*"))


class Impatient:
    """A user who sends these signals, each a while after the one before."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)
        self.next = time.monotonic() + 1

    def take(self):
        if not self.numbers or time.monotonic() < self.next:
            return None
        self.next += 0.3
        return self.numbers.pop(0)


# Paddle's launcher with one rank, to which a stop takes a while; `{end}` is how it ends then.
STOPPED_RANK = """
import os, signal, subprocess, sys, time
logs = os.path.dirname(__file__)
if "PADDLE_LOG_DIR" not in os.environ:
    rank = {{**os.environ, "PADDLE_LOG_DIR": logs, "PADDLE_TRAINER_ID": "0"}}
    print("Container rank 0 status failed code", subprocess.call([sys.executable, __file__], env=rank), "log")
    sys.exit(1)
def stop(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(0.8)
    {end}
signal.signal(signal.SIGHUP, stop)
time.sleep(100)
"""
SAVES = """open(logs + '/workerlog.0', 'w').write('stopped by SIGHUP at step 30, saved')
    open(f'{logs}/status.{os.getpid()}', 'w').write('129')
    os._exit(129)"""
DIES = "signal.signal(number, signal.SIG_DFL); os.kill(os.getpid(), number)"


@pytest.mark.parametrize(
    ("end", "when"), [(SAVES, "at step 30, saved"), (DIES, "before the training began")], ids=["saves", "dies"]
)
def test_a_stop_that_is_asked_for_twice_is_no_error(tmp_path, end, when):
    (tmp_path / "rank.py").write_text(STOPPED_RANK.format(end=end))
    command = [sys.executable, str(tmp_path / "rank.py")]
    supervisor = Supervisor(command, 1, tmp_path, environment=dict(os.environ), show=lambda line: None)
    status = supervisor.watch(Impatient(signal.SIGHUP, signal.SIGTERM))
    assert (status, supervisor.reason()) == (129, f"stopped by SIGHUP {when}")
    assert supervisor.was_stopped(status)


def test_machines_that_never_start_are_not_waited_for_forever(tmp_path):
    supervisor = supervise("import time; time.sleep(100)", tmp_path, start_timeout=0.5)
    assert supervisor.watch(NoSignals()) == 75
    assert supervisor.reason().startswith("no answer from the other machines for 0.5 s (--stall_seconds)")


def test_a_launcher_that_fails_is_quoted(tmp_path):
    supervisor = supervise("raise SystemExit('no such port')", tmp_path)
    assert supervisor.watch(NoSignals()) == 1
    assert supervisor.reason() == f"no rank started: no such port; logs of all ranks: {tmp_path}"


def supervise(code: str, logs: Path, **options) -> Supervisor:
    """A supervisor of a launcher that runs this code and starts no rank."""
    return Supervisor([sys.executable, "-c", code], 1, logs, environment=dict(os.environ), show=print, **options)


class NoSignals:
    """A user who sends none."""

    def take(self):
        return None


@pytest.mark.ranks
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux signals a child when its parent dies")
def test_when_the_launcher_is_killed_the_ranks_save_and_stop(launch, tmp_path):
    process = launch("--nproc", "2", *LONG)
    ranks = ranks_of(process, 2, tmp_path / "run")
    process.kill()
    _, alive = psutil.wait_procs(ranks.values(), timeout=30)
    assert not alive
    assert "stopped by SIGTERM" in (tmp_path / "run" / "logs" / "workerlog.0").read_text()


@pytest.mark.ranks
def test_a_restarted_run_equals_one_that_was_never_killed(launch, tmp_path):
    flags = ["--nproc", "2", "--epochs", "40", "--checkpoint_every", "23", "--model_args", "dropout=0.2"]
    process = launch(*flags, "--max_restarts", "2")
    ranks_of(process, 2, tmp_path / "run")[1].kill()
    status, stdout, stderr = finished(process)
    assert status == 0, stderr
    assert "restart 1 of 2, from the last checkpoint" in stdout
    assert "rank 1 died first" in stderr
    assert finished(launch(*flags, output_dir="straight"))[0] == 0
    assert [row for row in compare(tmp_path / "straight", tmp_path / "run") if row.difference] == []


@pytest.mark.ranks
def test_a_run_continues_when_nobody_reads_its_output(launch, tmp_path):
    process = launch("--nproc", "2", "--epochs", "1")
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=60)) == ("", 0)
    assert (tmp_path / "run" / "report.json").exists()


@pytest.mark.ranks
def test_a_dry_run_leaves_nothing(launch, tmp_path):
    status, stdout, stderr = finished(launch("--nproc", "2", "--dry_run"))
    assert (status, stderr) == (0, "")
    assert "dry run: every part worked" in stdout
    assert "logs of all ranks" not in stdout
    assert not (tmp_path / "run").exists()


def missing() -> str:
    """Why two machines can't be simulated here, or ""."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if not shutil.which("ip"):
        return "there is no `ip` (iproute2)"
    probe = subprocess.run(["ip", "netns", "add", "mnist-probe"], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", "mnist-probe"], capture_output=True)
    return "" if probe.returncode == 0 else f"no network namespaces here: {probe.stderr.strip()}"


MACHINES = {"mnist-a": "10.77.0.1", "mnist-b": "10.77.0.2"}


def ip(*words) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def machines():
    """Two network namespaces joined by a cable (a veth pair), each of which resolves its own host name."""
    if reason := missing():
        pytest.skip(reason)
    first, second = MACHINES
    try:
        ip("link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b")
        for name, cable in zip(MACHINES, ("veth-a", "veth-b")):
            ip("netns", "add", name)
            hosts = Path("/etc/netns", name, "hosts")
            hosts.parent.mkdir(parents=True, exist_ok=True)
            hosts.write_text(f"127.0.0.1 localhost\n{MACHINES[name]} {socket.gethostname()}\n")
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "addr", "add", f"{MACHINES[name]}/24", "dev", cable)
            ip("-n", name, "link", "set", cable, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield first, second
    finally:
        for name in MACHINES:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            shutil.rmtree(Path("/etc/netns", name), ignore_errors=True)
        subprocess.run(["ip", "link", "del", "veth-a"], capture_output=True)


def on_both(launch, *flags, **options) -> list:
    """The same command on both machines, as documented."""
    common = ["--nproc", "1", "--nnodes", "2", "--master", f"{MACHINES['mnist-a']}:6170"]
    return [
        launch(*common, "--node_rank", str(number), *flags, prefix=["ip", "netns", "exec", name], **options)
        for number, name in enumerate(MACHINES)
    ]


@pytest.mark.ranks
@pytest.mark.timeout(300)
def test_two_machines_equal_one_and_a_cut_cable_ends_both(machines, launch, tmp_path):
    flags = ["--epochs", "40", "--checkpoint_every", "20", "--threads", "1"]
    both = on_both(launch, *flags)
    ranks_of(both[0], 1, tmp_path / "run", step=40)
    ip("-n", machines[1], "link", "set", "veth-b", "down")  # the cable is cut
    for process in both:
        status, _, stderr = finished(process, timeout=60)
        assert status == 75, stderr
        assert "lost connection to the other ranks during " in stderr
    cut = checkpoint.load(tmp_path / "run" / "last.safetensors")[1]["step"]
    assert 40 <= cut < 400
    ip("-n", machines[1], "link", "set", "veth-b", "up")
    for process in on_both(launch, *flags, "--resume"):
        assert finished(process)[0] == 0
    # Never cut, on two ranks of one machine: the same bits. On one rank: the same up to rounding.
    assert finished(launch("--nproc", "2", *flags, output_dir="straight"))[0] == 0
    assert [row for row in compare(tmp_path / "straight", tmp_path / "run") if row.difference] == []
    assert finished(launch(*flags, script="train", output_dir="one"))[0] == 0
    one, two = (checkpoint.section(checkpoint.load(tmp_path / name)[0], "model") for name in ("one", "run"))
    for name, array in one.items():
        assert abs(array - two[name]).max() < 1e-3 * abs(array).max(), name
