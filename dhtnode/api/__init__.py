"""What programs call: `open_node`, `Node`, and what it returns.  The package `dhtnode` has these names."""
