"""What we answer other nodes: admission, tokens, stores, and the replies themselves. Pure."""
