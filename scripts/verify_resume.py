"""Prove that a stopped run ends as one that was never stopped; the same as `mnist-paddle verify-resume`."""

try:
    from mnist_paddle.cli.main import run
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; install mnist_paddle first: pip install -e '.[cpu]'") from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

if __name__ == "__main__":
    run("verify_resume")
