"""Let `python -m dhtnode` be the command `dhtnode`."""

from dhtnode.cli.main import main

if __name__ == "__main__":
    main()
