"""Tells the lies of one group and loads what they are told of."""

import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

SECONDS = 30  # after which a load is ended; what is allowed is the test's to say


def ended(number, frame):
    raise TimeoutError("still loading")


def digest_of(model) -> str:
    import jax
    import numpy as np

    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(model.state):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def came_of(folder: Path, load) -> dict:
    begin = time.process_time()
    signal.alarm(SECONDS)
    try:
        found = {"raised": None, "message": "", "weights": digest_of(load(str(folder)))}
    except BaseException as error:  # noqa: BLE001 - what it is is what the test asks
        found = {"raised": [one.__name__ for one in type(error).__mro__], "message": str(error)}
    signal.alarm(0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return {**found, "seconds": time.process_time() - begin, "peak": peak}


def main(group: str, place: Path) -> None:
    from jaxembed.convert.checkpoint.loading import load

    # Libraries print too; what came of it goes where they do not.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    signal.signal(signal.SIGALRM, ended)
    # Not the promise, but what keeps the machine alive where it is broken.
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    module = import_module(f"lies.{group}")
    whole = module.WHOLE(place / "whole")

    def loaded(folder: str):
        return load(folder, per_layer=True)

    print(json.dumps({"lie": "none", **came_of(whole, loaded)}), file=results, flush=True)
    for name, tell in module.LIES.items():
        folder = place / "lying"
        shutil.copytree(whole, folder)
        tell(folder)
        print(json.dumps({"lie": name, **came_of(folder, loaded)}), file=results, flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
