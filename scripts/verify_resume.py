"""Prove that a stopped run ends as one that was never stopped; the same as `mnist-paddle verify-resume`."""

from mnist_paddle.cli.main import run

if __name__ == "__main__":
    run("verify_resume")
