"""Where `claire` begins. `claire kill` acts here, before half a second of imports."""

import sys


def main() -> int:
    """Run `claire`; return the exit code."""
    if sys.argv[1:2] == ["kill"]:
        from claire.cli.kill import first

        first(sys.argv[2:])
    from claire.cli.main import main as rest

    return rest()


if __name__ == "__main__":
    sys.exit(main())
