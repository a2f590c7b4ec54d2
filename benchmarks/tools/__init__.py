"""What benchmarks share: sockets in batches, load, clocks and reports."""
