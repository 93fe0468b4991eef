"""One rank of a training: what Paddle's launcher runs, which takes the path of a script and no module."""

import sys

if __name__ == "__main__":
    del sys.path[0]  # this folder, whose names (data, train, ...) would hide others
    from mnist_paddle.cli.main import run

    run("train")
