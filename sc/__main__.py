"""`python -m sc`."""

from sc.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
