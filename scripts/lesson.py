"""Learn to debug a training: `python scripts/lesson.py --help`; the same as `mnist-paddle lesson`."""

try:
    from mnist_paddle.cli.main import run
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; install mnist_paddle first: pip install -e '.[cpu]'") from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

if __name__ == "__main__":
    run("lesson")
