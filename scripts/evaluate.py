"""Measure a trained network: `python scripts/evaluate.py --help`; the same as `mnist-paddle evaluate`."""

from mnist_paddle.cli.main import run

if __name__ == "__main__":
    run("evaluate")
