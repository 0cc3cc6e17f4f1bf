"""The console script; ``python -m fmnist_cli`` is ``fmnist``."""

import os
import sys


def main() -> None:
    """Run the command line."""
    try:
        from fmnist_cli.cli import app
    except KeyboardInterrupt:  # in the tenth of a second that the import takes
        print("Error: Interrupted.", file=sys.stderr)
        sys.exit(130)
    from fmnist_cli.host import NumPyNeedsMemory

    sys.meta_path.insert(0, NumPyNeedsMemory())
    if not any(os.access(folder, os.W_OK) for folder in ("/tmp", "/var/tmp")):
        os.environ.setdefault("TMPDIR", "/dev/shm")  # a container with a read-only root has it
    app()


if __name__ == "__main__":
    main()
