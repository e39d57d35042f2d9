"""What stands behind a backbone: from hidden states to what a caller gets. Knows nothing about files, queues or APIs."""
