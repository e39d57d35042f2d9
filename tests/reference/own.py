"""Small, obvious references for what transformers has no class for, written from the published definitions."""
