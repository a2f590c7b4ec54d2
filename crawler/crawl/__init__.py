"""The census: a visit to every node, then network sizes and Sybil alarms."""
