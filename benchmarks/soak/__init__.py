"""A daemon under load from thousands of addresses."""
