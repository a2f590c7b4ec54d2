"""What programs call: `open_node`, `Node`, and the values that it returns."""
