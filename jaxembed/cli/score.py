"""`jaxembed score`: how similar texts are to a query."""

import argparse
import math

from jaxembed.cli.options import add_model_arguments, add_running_arguments, load_llm, truncation
from jaxembed.errors import NonFiniteError, fields_as


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("query", metavar="QUERY")
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    add_model_arguments(parser)
    add_running_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Prints the cosine similarity of each text with the query, in the order given. Raises `NonFiniteError` if one has none."""
    llm = load_llm(arguments)
    with fields_as({"data_1": "QUERY", "data_2": "TEXT"}, truncate="have it cut with --truncate"):
        outputs = llm.score(arguments.query, arguments.texts, use_tqdm=False, tokenization_kwargs=truncation(arguments))
    for text, output in zip(arguments.texts, outputs, strict=True):
        print(f"{output.outputs.score:.4f}  {text}")
    broken = [place for place, output in enumerate(outputs) if not math.isfinite(output.outputs.score)]
    if broken:
        raise NonFiniteError(broken, field="TEXT")
