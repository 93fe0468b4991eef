"""Train a handwritten-digit recogniser: `python scripts/train.py --help`."""

from mnist_paddle import distributed, load_config, runtime, signals


def main(argv) -> int:
    """Parse, train, print; the exit status."""
    signals.end_at_signal()
    try:
        config = load_config(argv)
        runtime.require_paddle()
        distributed.place()  # what a launcher has said, before Paddle's import fails on it
        with signals.importing_paddle():  # which takes seconds: not before the flags are known to be right
            from mnist_paddle import fit

        fit(config)
    except KeyboardInterrupt:
        return runtime.end_with("stopped at once by SIGINT; the checkpoints that there are, are whole", 130)
    return 0


if __name__ == "__main__":
    runtime.script(main)
