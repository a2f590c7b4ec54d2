"""The demonstration and the example database."""
