"""Sizes of simulated networks after a crawl."""
