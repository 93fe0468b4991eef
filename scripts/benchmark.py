"""Measure speed: `python scripts/benchmark.py --help`; the same as `mnist-paddle benchmark`."""

from mnist_paddle.cli.main import run

if __name__ == "__main__":
    run("benchmark")
