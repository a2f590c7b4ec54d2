"""What programs call: `open_node`, `Node`, and the values that it returns; `dhtnode` itself has these names."""
