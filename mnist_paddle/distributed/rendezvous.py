"""Where the launchers of several machines connect: an address and a port of machine 0."""

import errno
import re
import socket
from dataclasses import dataclass

from ..errors import UsageError

ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Master:
    """--master as it was given, its IPv4 address, and its port."""

    text: str
    address: str
    port: int


def find_master(text: str) -> Master:
    """Look up HOST:PORT; a `UsageError` for another form, a port out of range, an unknown name."""
    match = re.fullmatch(r"([^:/\[\]\s]+):([0-9]+)", text)
    if not match:
        raise UsageError(f"--master {text}: write it as HOST:PORT (a name or an IPv4 address, and a port), such as 10.0.0.1:6170")
    host, port = match[1], int(match[2][:9])
    if not 1 <= port <= 65535:
        raise UsageError(f"--master {text}: ports go from 1 to 65535; use one that is free on machine 0, such as 6170")
    try:
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--master {text}: {host} has no IPv4 address here ({reason}); use the address of machine 0") from None
    return Master(text, str(address), port)


def own_address(master: Master) -> str:
    """The address under which the other machines reach this one: that of the route to the master. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((master.address, master.port))
        except OSError as error:
            raise UsageError(
                f"--master {master.text}: this machine has no route to {master.address} ({error.strerror}); check its network"
            ) from None
        return probe.getsockname()[0]


def check_port(master: Master) -> None:
    """On machine 0: a `UsageError` where the address is not its own, or the port is in use."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server will: connections left from an earlier run do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((master.address, master.port))
            probe.listen()  # a port may be bound twice, but only one process can listen on it
            return
        except OSError as error:
            problem = error
    if problem.errno == errno.EADDRNOTAVAIL:
        raise UsageError(
            f"--master {master.text}: this is machine 0, and it has no address {master.address}; "
            "use one of its own, or another --node_rank here"
        )
    if problem.errno == errno.EACCES:
        raise UsageError(f"--master {master.text}: port {master.port} needs root privileges; use one above 1023, such as 6170")
    if not _is_launcher(master):
        raise UsageError(
            f"--master {master.text}: port {master.port} is in use by another program here ({problem.strerror}); use another port"
        )


def _is_launcher(master: Master) -> bool:
    """Whether what listens there is another of Paddle's launchers: a second node on this machine, started first."""
    try:
        with socket.create_connection((master.address, master.port), ANSWER_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(b"GET /healthy HTTP/1.0\r\n\r\n")
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
                if len(answer) > 65536:
                    return False
    except OSError:
        return False
    return b" 200 " in answer[:40] and b"ok" in answer
