"""The console script; ``python -m fmnist_cli`` is ``fmnist``."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from fmnist_cli.cli import app
    except KeyboardInterrupt:  # in the tenth of a second that the import takes
        print("Error: Interrupted.", file=sys.stderr)
        sys.exit(130)
    app()


if __name__ == "__main__":
    main()
