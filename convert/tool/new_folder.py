"""A new folder, built beside its place and renamed into it at the end, so that whatever is at that place is whole."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxembed.errors import CheckpointError, InputError, JaxEmbedError

# The file by which the folder of a killed run is known. One without it is somebody's, and is not emptied.
_MARKER = ".jaxembed-partial"


def check_target(out: Path) -> None:
    """Raises `InputError` for a place where no new folder can be made."""
    place = out.absolute()
    try:
        # What is recorded, and what tensorstore takes, are names in UTF-8.
        str(place).encode()
        there = _exists(place)
        # Its name is longer: what the system says of it shall be said before the work.
        _exists(_partial(place))
    except UnicodeEncodeError:
        raise InputError(f"{str(out)!a} is no name in UTF-8; name another folder.", field="out") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{out} cannot be written: {getattr(error, 'strerror', None) or error}.", field="out") from None
    if there:
        raise InputError(f"{out} exists already; OUT is the name of a folder that does not exist yet.", field="out")
    if not place.parent.is_dir():
        raise InputError(f"there is no folder {place.parent} to put {place.name} into.", field="out")
    if not os.access(place.parent, os.W_OK):
        raise InputError(f"{place.parent} cannot be written: permission denied.", field="out")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Gives a new folder beside `out` that is renamed to it at the end, or removed if that is not reached.

    What a killed run has left there is removed first. Raises `InputError` for a run that still goes on, for anything else
    that is in the way, and for what the system says of writing; `CheckpointError` for what it says of another file.
    """
    folder = _partial(out.absolute())
    handle = _taken(folder, out)
    try:
        try:
            yield folder
            folder.rename(out)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        os.unlink(_MARKER, dir_fd=handle)
    except OSError as error:
        if isinstance(error, JaxEmbedError):
            raise
        if error.filename is not None and not Path(os.fsdecode(error.filename)).absolute().is_relative_to(folder):
            raise CheckpointError(f"{error.filename} cannot be read: {error.strerror}.") from None
        raise InputError(f"{out} cannot be written: {error.strerror or error}.", field="out") from None
    finally:
        os.close(handle)


def check_room(folder: Path, needed: int) -> None:
    """Raises `InputError` if the disk has less room than `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder.parent} has {free / 1e9:,.1f} GB free, and the arrays need {needed / 1e9:,.1f} GB.", field="out"
        )


def _partial(place: Path) -> Path:
    return place.parent / f".{place.name}.partial"


def _exists(path: Path) -> bool:
    """Whether there is anything of that name, a link that leads nowhere included. Raises what the system says of the name."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _taken(folder: Path, out: Path) -> int:
    """Makes the folder, or takes what a killed run has left and empties it; returns it open and locked."""
    try:
        folder.mkdir(exist_ok=True)
        # Through a link it would be another folder that is emptied.
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except PermissionError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.", field="out") from None
    except OSError as error:
        if _exists(folder):
            raise _in_the_way(folder) from None
        raise InputError(f"{out} cannot be written: {error.strerror}.", field="out") from None
    try:
        _lock(handle, folder, out)
        _clear(handle, folder)
    except OSError as error:
        os.close(handle)
        raise InputError(f"{folder} cannot be emptied: {error.strerror}.", field="out") from None
    except InputError:
        os.close(handle)
        raise
    return handle


def _lock(handle: int, folder: Path, out: Path) -> None:
    """Takes the folder for this run. Raises `InputError` if another run has it, or has finished it since it was opened."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.path.samestat(os.fstat(handle), folder.lstat())
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        raise InputError(f"another run is writing {out} at this moment.", field="out")


def _clear(handle: int, folder: Path) -> None:
    """Removes what is in the open folder, all but the mark, and sees to the mark. Raises `InputError` where it is missing."""
    left = os.listdir(handle)
    if left and _MARKER not in left:
        raise _in_the_way(folder)
    os.close(os.open(_MARKER, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600, dir_fd=handle))
    for name in left:
        if stat.S_ISDIR(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=handle)
        elif name != _MARKER:
            os.unlink(name, dir_fd=handle)


def _in_the_way(folder: Path) -> InputError:
    return InputError(
        f"{folder} is needed, and what is there is not what a run of jaxembed has left; rename or remove it.", field="out"
    )
