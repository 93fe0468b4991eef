"""Train on several devices or machines: `python scripts/launch.py --help`; the same as `mnist-paddle launch`."""

from mnist_paddle.cli.main import run

if __name__ == "__main__":
    run("launch")
