"""Let `python -m crawler.synthetic` be the command `dhtcrawl synthetic`."""

import sys

from crawler.cli import main

if __name__ == "__main__":
    main(["synthetic", *sys.argv[1:]])
