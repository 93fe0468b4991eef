"""VisualDL's pages in a real browser, which alone shows whether they answer: headless Chromium, driven by chromedriver."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import requests
from digits import make_digits, write_npz

from mnist_paddle import Config, fit
from mnist_paddle.cli.inspect_network import main as inspect
from mnist_paddle.experiment import commands

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()
CLICK = "[...document.querySelectorAll('*')].filter(e => !e.children.length && e.textContent.includes(arguments[0]))[0].click()"
HERE = requests.Session()
HERE.trust_env = False  # no proxy to this machine


@contextlib.contextmanager
def running(command):
    """A server in a process group of its own, ended with all that it has started."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(address, seconds=60):
    until = time.monotonic() + seconds
    while True:
        try:
            return HERE.get(address, timeout=5)
        except requests.RequestException:
            assert time.monotonic() < until, f"{address} does not answer"
            time.sleep(0.1)


class Page:
    """A browser's page: where a script runs longer than 60 seconds, it hangs."""

    def __init__(self, driver, profile, size):
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}", f"--window-size={size}"]}
        asked = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        answer = HERE.post(f"{driver}/session", json=asked, timeout=60).json()
        self.address = f"{driver}/session/{answer['value']['sessionId']}"

    def open(self, address):
        HERE.post(f"{self.address}/url", json={"url": address}, timeout=60)

    def run(self, script, *arguments):
        asked = {"script": script, "args": list(arguments)}
        return HERE.post(f"{self.address}/execute/sync", json=asked, timeout=60).json()["value"]

    def until(self, script, seconds=30):
        end = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < end, self.run("return document.body.innerText")
            time.sleep(0.2)
        return found


@pytest.fixture(scope="module")
def runs(small, tmp_path_factory):
    """A folder of two runs, and one that holds one."""
    folder = tmp_path_factory.mktemp("runs")
    for name, settings in (
        ("one/a", {"model": "linear"}),
        ("two/a", {"model": "linear"}),
        ("two/b", {"model": "fc", "epochs": 2}),
    ):
        config = Config(**{"epochs": 1, "device": "cpu", "output_dir": str(folder / name), **settings})
        fit(config, small, log=lambda line: None)
    return folder


@pytest.mark.parametrize("size", ["1400,900", "700,900"])
@pytest.mark.parametrize("name", ["one", "two"])
def test_the_hyper_parameters_page_shows_every_view_and_stays_responsive(name, size, runs, tmp_path):
    if not shutil.which("chromedriver"):
        pytest.skip("there is no chromedriver here")
    port = commands.free_port()
    visualdl = [sys.executable, "-m", "visualdl.server.app", "--logdir", str(runs / name), "--host", "127.0.0.1"]
    with running([*visualdl, "--port", str(port), "--disable-telemetry"]), running(["chromedriver", f"--port={port + 500}"]):
        wait_for(f"http://127.0.0.1:{port}/alive")
        wait_for(f"http://127.0.0.1:{port + 500}/status")
        page = Page(f"http://127.0.0.1:{port + 500}", tmp_path, size)
        page.open(f"http://127.0.0.1:{port}/app/hyper-parameter")
        assert "linear" in page.until("return document.body.innerText.includes('Trial ID') && document.body.innerText")
        page.run(CLICK, "Parallel")
        names = page.until("return [...document.querySelectorAll('.indicator text')].map(e => e.textContent)")
        assert names == ["model", "loss", "optim", "lr", "sched", "batch", "epochs", "aug", "test"]
        page.run(CLICK, "Scatter")
        assert page.until("return document.querySelectorAll('svg').length")


def test_the_high_dimensional_page_shows_an_embedding(tmp_path, monkeypatch):
    if not shutil.which("chromedriver"):
        pytest.skip("there is no chromedriver here")
    write_npz(tmp_path / "digits.npz", make_digits(60), make_digits(40, seed=1))
    monkeypatch.chdir(tmp_path)
    assert inspect(["fc", "--data_dir", "digits.npz", "--figures", "inside", "--embedding"]) == 0
    server, address = commands.curves_command("inside", "high-dimensional", relative=True)
    port = int(address.split(":")[2].split("/")[0])
    with running(shlex.split(server)), running(["chromedriver", f"--port={port + 500}"]):
        wait_for(f"http://127.0.0.1:{port}/alive")
        wait_for(f"http://127.0.0.1:{port + 500}/status")
        page = Page(f"http://127.0.0.1:{port + 500}", tmp_path / "profile", "1400,900")
        page.open(address)
        shown = page.until("return document.body.innerText.includes('Points: 40') && document.body.innerText")
        assert "Total variance described" in shown
        assert "Parsing data" not in shown
