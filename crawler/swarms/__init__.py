"""Swarms measured through the DHT, once or again and again."""
