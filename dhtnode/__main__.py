"""The command `dhtnode`, as `python -m dhtnode`."""

from dhtnode.cli.main import main

if __name__ == "__main__":
    main()
