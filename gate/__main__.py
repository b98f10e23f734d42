"""`python -m gate` is the same as the `gate` command."""

from gate.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
