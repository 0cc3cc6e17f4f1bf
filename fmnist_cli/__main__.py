"""``python -m fmnist_cli`` is ``fmnist``."""

from fmnist_cli.cli import main

if __name__ == "__main__":
    main()
