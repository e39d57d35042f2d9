"""Which text lies where in a row: planned in numpy, read by a program. Knows nothing about tokenizers, models or queues."""
