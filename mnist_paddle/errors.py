"""The exceptions that a user sees as one line."""


class UsageError(Exception):
    """Something the user can mend: one line that says what is wrong, where, and what to do. Scripts exit with 2."""

    status = 2


class RunError(Exception):
    """A run that cannot go on (the loss is not finite, the disk is full): one line, exit status 1."""

    status = 1


class Interrupted(RunError):
    """A run that a signal ended, after saving; its exit status is 128 + the signal's number, as a shell has it."""

    def __init__(self, message: str, signal: int):
        super().__init__(message)
        self.signal = signal
        self.status = 128 + signal


class LostConnection(RunError):
    """A rank that the others left alone. The fault lies elsewhere and another try may work: exit status 75 (EX_TEMPFAIL)."""

    status = 75
