"""One architecture in each file: its config and its module. Families never import each other."""
