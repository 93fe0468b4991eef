"""How every command runs: arguments in, an exit status out, errors as one line."""

import argparse
import signal
import sys
from typing import NoReturn

from ..errors import Interrupted, RunError, UsageError
from ..system.console import end_with, fail, open_standard_streams, report_status, silence_stdout
from ..system.signals import STOPPED, ignore_stops


class CommandLine(argparse.ArgumentParser):
    """argparse that raises a `UsageError`, which comes out as one line, and takes no abbreviated flags."""

    def __init__(self, **settings):
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message):
        """Called by argparse."""
        raise UsageError(f"{message} (see --help)")


def script(main) -> NoReturn:
    """End the process with the status of `main(argv)`, or of the error it raises: how every script runs.

    It does so even where nobody reads its output any more.
    """
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal without these characters shows \\u2192 for an arrow; a pipe receives every line at once.
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        status = main(sys.argv[1:])
    except Interrupted as stop:  # asked for by the user, not an error
        status = end_with(" ".join(str(stop).split()), stop.status)
    except KeyboardInterrupt:
        status = end_with("stopped by SIGINT", 130)
    except (UsageError, RunError) as error:
        status = fail(error, error.status)
    except BrokenPipeError:
        status = 128 + getattr(signal, "SIGPIPE", 13)
        silence_stdout()
    except Exception:
        report_status(1)
        raise
    if status in STOPPED:
        ignore_stops()
    report_status(status)
    sys.exit(status)
