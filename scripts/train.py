"""Train a handwritten-digit recogniser: `python scripts/train.py --help`."""

from mnist_paddle import load_config, runtime


def run_settings(path) -> dict:
    """The settings of a run that is resumed."""
    from mnist_paddle.checkpoint import settings

    return settings(path)


def main(argv) -> int:
    """Parse, train, print; the exit status."""
    runtime.end_at_interrupt()
    try:
        config = load_config(argv, run_settings)
        runtime.require_paddle()
        from mnist_paddle import fit  # imports paddle, which takes seconds: not before the flags are known to be right

        fit(config)
    except KeyboardInterrupt:
        return runtime.fail("stopped at once, without saving; the checkpoints that there are, are whole", 130)
    return 0


if __name__ == "__main__":
    runtime.script(main)
