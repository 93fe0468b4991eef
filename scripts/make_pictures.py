"""Make digit pictures and measure on them: `python scripts/make_pictures.py --help`; the same as `mnist-paddle make-pictures`."""

try:
    from mnist_paddle.cli.main import run
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; install mnist_paddle first: pip install -e '.[cpu]'") from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

if __name__ == "__main__":
    run("make_pictures")
