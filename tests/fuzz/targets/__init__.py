"""What is fuzzed: each target takes inputs and raises when a promise does not hold."""
