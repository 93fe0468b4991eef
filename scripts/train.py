"""Train: `python scripts/train.py --help`; the same as `mnist-paddle train`."""

from mnist_paddle.cli.main import run

if __name__ == "__main__":
    run("train")
