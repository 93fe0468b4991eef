"""Get a dataset and look at it: `python scripts/data.py --help`; the same as `mnist-paddle data`."""

from mnist_paddle.cli.main import run

if __name__ == "__main__":
    run("data")
