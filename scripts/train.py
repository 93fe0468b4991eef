"""Train a handwritten-digit recogniser: `python scripts/train.py --help`."""

from mnist_paddle import load_config, runtime


def main(argv) -> int:
    """Parse, train, print; the exit status."""
    runtime.end_at_interrupt()
    try:
        config = load_config(argv)
        runtime.require_paddle()
        from mnist_paddle import fit  # imports paddle, which takes seconds: not before the flags are known to be right

        runtime.default_signals()
        fit(config)
    except KeyboardInterrupt:
        return runtime.fail("stopped at once, without saving; the checkpoints that there are, are whole", 130)
    return 0


if __name__ == "__main__":
    runtime.script(main)
