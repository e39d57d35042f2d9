"""`python -m jaxembed.convert SOURCE OUT`: the same as `jaxembed convert`."""

import sys
from importlib import import_module

# By name: the command line stands above this floor, and this file only opens its door.
sys.exit(import_module("jaxembed.cli").main(["convert", *sys.argv[1:]]))
