"""The tasks there are. A new one is a file beside this and a row here."""

from jaxembed.heads.task import Task
from jaxembed.heads.tokens import HIDDEN, TOKEN_EMBED
from jaxembed.heads.vectors import EMBED

TASKS: dict[str, Task] = {task.name: task for task in (EMBED, TOKEN_EMBED, HIDDEN)}


def asked_by(api: str) -> list[str]:
    """Returns the names of the tasks that an API may ask for."""
    return [task.name for task in TASKS.values() if api in task.apis]
