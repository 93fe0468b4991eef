"""Train a handwritten-digit recognizer: `mnist-paddle train --help`."""

from mnist_paddle import load_config

from ..distributed import communication
from ..system import console, signals, startup


def main(argv: list) -> int:
    """Parse, train, print; the exit status."""
    signals.end_at_signal()
    try:
        config = load_config(argv)
        startup.require_paddle()
        communication.launch_env()  # what a launcher has set, before Paddle's import fails on it
        from ..experiment.head_start import HeadStart  # not for --help

        with HeadStart(config) as head_start:
            with signals.importing_paddle():  # which takes seconds: not before the flags are known to be right
                from mnist_paddle import fit

            fit(config, head_start=head_start)
    except KeyboardInterrupt:
        return console.end_with("stopped at once by SIGINT; existing checkpoints are complete", 130)
    return 0
