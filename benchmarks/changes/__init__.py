"""Arrivals and departures between two measurements of simulated swarms whose truth is known."""
