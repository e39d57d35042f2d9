"""The command `jaxembed`: one file for each subcommand, nothing heavy imported before one is chosen."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from jaxembed import __version__
from jaxembed.cli.flags import stray_variables
from jaxembed.cli.serve import FLAGS
from jaxembed.cli.spelling import spelled
from jaxembed.errors import InputError, JaxEmbedError

_COMMANDS = {
    "embed": "texts to vectors, from arguments, a file or standard input",
    "serve": "the model over HTTP, for the clients of OpenAI, Cohere, vLLM and TEI",
    "score": "how similar texts are to a query",
    "convert": "a checkpoint into a folder that restores at once, or back",
    "verify": "whether a model gives the vectors that it should",
    "info": "what a checkpoint's files say, and which file says it",
    "doctor": "what this machine will run, checked",
}

# Errors of the system that writing to standard output ends with: it has no name, and what commands read and write by name
# has one.
_OF_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="jaxembed", description="Embeddings from Hugging Face checkpoints on JAX.")
    top.add_argument("--version", action="version", version=f"jaxembed {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, help_ in _COMMANDS.items():
        module = import_module(f"jaxembed.cli.{name}")
        description = f"{help_[0].upper()}{help_[1:]}."
        sub = commands.add_parser(name, help=help_, description=description, allow_abbrev=False)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0, 2 for bad input, 1 for anything else that was foreseen, 130 on Ctrl-C."""
    given = sys.argv[1:] if argv is None else argv
    try:
        dotted = [flag.name for flag in FLAGS if "." in flag.name]
        arguments = parser().parse_args(spelled(given, declared=dotted, serving=given[:1] == ["serve"]))
        for line in stray_variables(FLAGS, arguments, os.environ):
            print(f"jaxembed: {line}", file=sys.stderr)
        arguments.run(arguments)
        sys.stdout.flush()
    except InputError as error:
        return _complain(error, 2)
    except JaxEmbedError as error:
        return _complain(error, 1)
    except BrokenPipeError:
        # The reader of our output is gone; closing it quietly is all that is left to do.
        sys.stderr.close()
        return 0
    except OSError as error:
        return _complain(_about_files(error), 1)
    except KeyboardInterrupt:
        return 130
    return 0


def _about_files(error: OSError) -> str:
    """Says what is wrong with a file that has a name, with standard output, or with something else."""
    if error.filename is not None:
        return f"{error.filename} cannot be used: {error.strerror or error}."
    if error.errno in _OF_OUTPUT:
        _abandon_output()
        return f"the output cannot be written: {error.strerror or error}."
    return f"the system refuses: {error.strerror or error}."


def _abandon_output() -> None:
    """Points standard output to nowhere, or Python would complain once more when it closes it."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: Exception | str, status: int) -> int:
    print(f"jaxembed: {error}", file=sys.stderr)
    return status
