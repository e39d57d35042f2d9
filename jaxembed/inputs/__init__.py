"""From what a caller passes to tokenized texts. Knows nothing about models, rows or engines."""
