"""`python -m mnist_paddle COMMAND`."""

try:
    from .cli.main import main
except KeyboardInterrupt:
    raise SystemExit(130) from None

if __name__ == "__main__":
    main()
