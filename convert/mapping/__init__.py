"""From `config.json` to a family, and from names of tensors to parameters. Knows nothing about files."""
