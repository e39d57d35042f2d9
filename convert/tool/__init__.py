"""The command: converting, exporting, verifying."""
