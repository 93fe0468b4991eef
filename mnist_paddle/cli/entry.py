"""How every command runs: arguments in, an exit status out, errors as one line."""

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any, Callable, NoReturn, Optional

from ..errors import Interrupted, RunError, UsageError
from ..registry import unknown
from ..system.console import end_with, fail, open_standard_streams, report_status, silence_stdout
from ..system.signals import STOPPED, ignore_stops


class CommandLine(argparse.ArgumentParser):
    """argparse with the manners of `train`: errors in one line, no abbreviations, --some-flag for --some_flag, its help."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def parse_args(self, args: Optional[list] = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        """The arguments; a `UsageError` for what is none of them, with the flag that was probably meant."""
        from ..config import FIELDS
        from ..settings.advice import canonical, flag_advice

        arguments, rest = self.parse_known_args(args, namespace)
        if rest and not rest[0].startswith("-"):
            raise UsageError(f"{rest[0]!r} belongs to no flag (see --help)")
        if rest:
            flag, known = rest[0].partition("=")[0], [name.lstrip("-") for name in self._option_string_actions]
            hint = "it is a flag of train" if canonical(flag) in FIELDS else flag_advice(flag, known, {})
            raise UsageError(f"{flag}: there is no such flag here; {hint}")
        return arguments

    def parse_known_args(self, args: Optional[list] = None, namespace: Any = None) -> tuple:  # type: ignore[override]
        """The arguments, and the words that are none of them."""
        return super().parse_known_args([self._spelled(str(word)) for word in args or []], namespace)

    def _spelled(self, word: str) -> str:
        flag, equals, value = word.partition("=")
        own = flag.replace("-", "_").replace("__", "--", 1)
        return own + equals + value if word.startswith("--") and own in self._option_string_actions else word

    def format_help(self) -> str:
        """Called by argparse."""
        from .help import command_help

        return command_help(self)

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        flag, _, text = message.removeprefix("argument ").partition(": ")
        flag = flag.partition("/")[0]
        if number := re.fullmatch(r"invalid (int|float) value: (.*)", text):
            raise UsageError(f"{flag} must be {'an integer' if number[1] == 'int' else 'a number'}; it is {number[2]}")
        if text == "expected one argument":
            raise UsageError(f"{flag} needs a value (see --help)")
        if flag == "the following arguments are required":
            raise UsageError(f"{self.prog} needs {text.upper()} (see --help)")
        raise UsageError(f"{flag}: {text}" if message.startswith("argument ") else f"{message} (see --help)")


def one_of(kind: str, options: Sequence[str]) -> Callable[[str], str]:
    """A type of an argument, for argparse: one of a few words."""

    def check(word: str) -> str:
        if word not in options:
            raise argparse.ArgumentTypeError(unknown(kind, word, options))
        return word

    return check


def tell(text: str) -> None:
    """Print a message to stderr, beside the result."""
    print(text, file=sys.stderr)


def script(main: Callable[[list], int]) -> NoReturn:
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
