"""What commands ask beside the DHT: their options, and the lines about the answers."""
