"""What a request of a client costs the gateway."""
