"""A crawl database in the browser: Datasette with our texts, questions and plots, on loopback.

Datasette is loaded by `site`, `pages` and `serving` alone, so that the rest works without it.
"""
