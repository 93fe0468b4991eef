"""Memory in huge pages."""

import subprocess
import sys

import pytest

from mnist_paddle.system.huge_pages import _glibc, advise_huge_pages

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux") or _glibc() is None, reason="needs glibc")


WORKER = """
import threading
import numpy as np
from mnist_paddle.system.huge_pages import advise_huge_pages


def is_advised(address):
    inside = False
    for line in open("/proc/self/smaps"):
        first = line.split()[0]
        if "-" in first and not first.endswith(":"):
            start, stop = (int(number, 16) for number in first.split("-"))
            inside = start <= address < stop
        elif inside and first == "VmFlags:":
            return "hg" in line.split()


def work():
    advise_huge_pages()
    # 3 MB each: NumPy itself asks for huge pages for arrays above 4 MB.
    arrays = [np.empty(3 << 20, np.uint8) for _ in range(8)]
    print(all(is_advised(array.ctypes.data + array.nbytes // 2) for array in arrays))


thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def test_what_a_thread_allocates_next_may_lie_in_huge_pages():
    """In a process of its own: where memory comes from depends on what was freed before."""
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_a_size_that_there_is_no_memory_for_changes_nothing():
    advise_huge_pages(1 << 60)
