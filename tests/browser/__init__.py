"""Pages of `dhtcrawl browse` in a headless Chromium."""
