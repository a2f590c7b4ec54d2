"""Let `python -m crawler` be the command `dhtcrawl`."""

from crawler.cli.main import main

if __name__ == "__main__":
    main()
