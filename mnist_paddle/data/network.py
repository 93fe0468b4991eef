"""Downloads that end: with the file, or with the true reason in a few words."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

CONNECT_SECONDS, READ_SECONDS = 3.05, 15  # to reach the server; between two pieces of an answer
PATIENCE, SLOWEST = 30, 10_000  # after so many seconds, at least so many bytes a second
PIP_SECONDS = 900
MOST_DOWNLOAD = 64 << 20  # the largest file has 26 MB
PIECE = 1 << 16
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Refused(Exception):
    """A source that does not serve; the next one is tried."""


def download(address: str, path) -> None:
    """Fetch one file over HTTP(S). Raises `Refused` with the reason, and OSError where the file can't be written."""
    with open(path, "wb") as file:
        transfer = Transfer(address, file)
        transfer.start()
        transfer.wait()


class Transfer(threading.Thread):
    """A download in a thread of its own: a server that sends a byte every ten seconds keeps no time limit of the sockets."""

    def __init__(self, address: str, file):
        super().__init__(name="download", daemon=True)
        self.address, self.file = address, file
        self.received, self.error, self.given_up = 0, None, False

    def run(self):
        """Receive everything, and keep what went wrong."""
        try:
            with contextlib.closing(pieces(self.address)) as content:
                for piece in content:
                    if self.given_up:
                        return
                    self.received += self.file.write(piece)
                    if self.received > MOST_DOWNLOAD:
                        raise Refused("serves far more than the dataset")
        except BaseException as error:
            self.error = error

    def wait(self) -> None:
        """Wait for the end, or for the moment when it takes too long."""
        begin = time.monotonic()
        try:
            while self.is_alive():
                self.join(0.5)
                seconds = time.monotonic() - begin
                if self.is_alive() and seconds > PATIENCE and self.received < SLOWEST * seconds:
                    raise Refused(f"too slow ({self.received:,} bytes in {seconds:.0f} s)")
        finally:
            self.given_up = True
        if self.error is not None:
            raise self.error


def pieces(address: str):
    """The content of an answer, piece by piece, with a progress bar where there is a terminal."""
    import requests
    from tqdm import tqdm

    try:
        with requests.get(address, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as answer:
            if answer.status_code != 200:
                raise Refused(f"HTTP {answer.status_code} {answer.reason or ''}".strip())
            length = answer.headers.get("content-length", "")
            name = address.rpartition("/")[2]
            size = int(length) if re.fullmatch(r"[0-9]{1,12}", length) else None
            with tqdm(total=size, unit="B", unit_scale=True, desc=name, leave=False, disable=None) as bar:
                for piece in answer.iter_content(PIECE):
                    bar.update(len(piece))
                    yield piece
    # Besides its own errors, requests lets through those of urllib3, of idna (ValueError) and, for a CA bundle, OSError.
    except (OSError, ValueError, http_error()) as error:
        raise Refused(reason(error)) from None


def http_error():
    """The base class of urllib3's errors."""
    from urllib3.exceptions import HTTPError

    return HTTPError


def reason(error) -> str:
    """What went wrong with a request, in a few words and without passwords."""
    from requests import exceptions

    text = " ".join(str(error).split())
    if isinstance(error, exceptions.ProxyError):
        status = re.search(r"Tunnel connection failed: (\d+ [\w ]+)", text)
        return f"the proxy{proxies()} {f'answers HTTP {status[1].strip()}' if status else 'does not answer'}"
    if "No connection adapters" in text:
        return "redirects to an address that is not HTTP"
    if isinstance(error, exceptions.ContentDecodingError):
        return "its answer can't be decoded"
    if isinstance(error, exceptions.ChunkedEncodingError) or "IncompleteRead" in text:
        return "the connection broke off in the middle of the file"
    if isinstance(error, exceptions.TooManyRedirects):
        return "redirects without end"
    if isinstance(error, ValueError):  # addresses that can't be parsed; those of the sources can
        return f"the proxy{proxies()} can't be used: {without_passwords(text)}" if proxies() else "redirects to no valid address"
    if "CA certificate bundle" in text or re.search("NO_CERTIFICATE_OR_CRL|NO_START_LINE|PEM lib", text):
        names = [f"{name}={os.environ[name]}" for name in CA_VARIABLES if os.environ.get(name)]
        return f"the file of trusted certificates can't be read ({(names or [innermost(text)])[0]})"
    if isinstance(error, exceptions.SSLError):
        cause = re.search(r"certificate verify failed: ([^(\[]+)", text)
        return f"its certificate is not trusted: {cause[1].strip()}" if cause else f"no TLS connection ({innermost(text)})"
    if isinstance(error, exceptions.Timeout) or "timed out" in text:
        return "no answer in time"
    if "BadStatusLine" in text:
        return "its answer is not HTTP"
    return f"no connection ({innermost(text)})"


def innermost(text: str) -> str:
    """The cause at the end of a chain of errors, such as "Connection refused" of half a kilobyte."""
    found = re.findall(r"\[(?:Errno -?\d+|\w+: \w+)\] ([^'\"()]+)|(Remote end closed[^'\"()]*)", text)
    words = [word.strip() for pair in found for word in pair if word]
    return words[-1] if words else without_passwords(text)[-80:]


def proxies() -> str:
    """The proxies of the environment, without passwords."""
    from urllib.request import getproxies

    known = getproxies()
    found = sorted({known[name] for name in ("http", "https", "all") if known.get(name)})
    return f" {' or '.join(map(without_passwords, found))}" if found else ""


def without_passwords(text: str) -> str:
    """A text with the user and password of every address left out."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def download_wheel(package: str, folder: Path) -> Path:
    """Fetch a wheel with pip, without installing it. Raises `Refused` with the reason."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--quiet", "--no-input"]
    command += ["--only-binary", ":all:", "--dest", str(folder), package]
    # Nobody would see a question that pip asks.
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        done = subprocess.run(command, text=True, errors="replace", timeout=PIP_SECONDS, **pipes)
    except subprocess.TimeoutExpired:
        raise Refused(f"pip did not end within {PIP_SECONDS / 60:g} minutes") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise Refused(f"pip: {pip_reason(done.stderr) or f'exit status {done.returncode}'}")
    return wheels[0]


def pip_reason(errors: str) -> str:
    """Why pip failed, from its stderr. Of an index that it did not reach it says last that the package does not exist."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    if lines and lines[-1].endswith("No module named pip"):
        return "this Python has none; python -m ensurepip adds it"
    for line in reversed(lines):
        if "Retry(total=0" in line or "Could not fetch URL" in line:
            who = "the proxy does not answer" if "ProxyError" in line else "no connection to the package index"
            return f"{who} ({innermost(line)})"
    # Behind "ERROR: Exception:" stands a traceback, whose last line tells.
    said = [line for line in lines if line.startswith("ERROR:") and not line.endswith("Exception:")]
    return without_passwords((said[-1:] or lines[-1:] or [""])[0])[:300]
