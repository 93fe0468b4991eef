"""Exceptions whose message is printed to the user as one line, without a traceback."""


class UsageError(Exception):
    """An error that the user can fix. The message is one line: what is wrong, where, and what to do. Exit status 2."""

    status = 2


class RunError(Exception):
    """An error that stops a run, such as a non-finite loss or a full disk. Exit status 1."""

    status = 1


class Interrupted(RunError):
    """A run that saved and stopped because of a signal. Exit status 128 + signal number, as in a shell."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
        self.status = 128 + signal


class LostConnection(RunError):
    """This rank lost its connection to the others. The cause is elsewhere and a retry may work: exit status 75 (EX_TEMPFAIL)."""

    status = 75
