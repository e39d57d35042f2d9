"""The weight rules of each family."""
