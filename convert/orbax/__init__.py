"""Arrays as a converted folder stores and restores them."""
