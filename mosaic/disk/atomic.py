"""Files written atomically: readers see the old file, or the new one whole, and a kill leaves neither half."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mosaic.device import interrupts_held
from mosaic.disk.failures import WriteError, write_error
from mosaic.disk.lock import LOCK, OutputInUse, locked
from mosaic.errors import MosaicError

__all__ = [
    "flush",
    "is_temporary",
    "make_folder",
    "own_folder",
    "remove_temporaries",
    "replacing",
    "write_together",
    "writing",
]

TEMPORARY = (".mosaic-", ".tmp")  # how names of temporary folders start and end


@contextmanager
def replacing(path: Path, overwrite: bool = True, sweep: bool = True) -> Iterator[Path]:
    """Give a temporary path that becomes `path` if the block succeeds: readers see the old file, or the new one whole.

    It is in a new folder that nobody else can write to, so that no link planted there is followed. It counts only
    when it is on the disk.

    Parameters
    ----------
    overwrite : bool
        Whether a file that is there by then may be replaced.
    sweep : bool
        Whether to look for what killed writers have left in the folder first.

    Raises
    ------
    WriteError
        If it cannot be written, or may not be replaced.
    """
    with writing(path):
        if sweep:
            remove_temporaries(path.parent)
        with own_folder(path) as folder:
            temporary = folder / path.name
            yield temporary
            flush(temporary)
            _move(temporary, path, overwrite)
        flush(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says when `path` cannot be written into a sentence.

    Raises
    ------
    WriteError
        If the block raises an OSError.
    """
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from None


@contextmanager
def own_folder(path: Path) -> Iterator[Path]:
    """Make a temporary folder beside `path`, lock it until the block ends, and then remove it."""
    while True:
        with ExitStack() as stack:
            with interrupts_held():  # an interrupt in between would leave it, as a kill does
                folder = Path(tempfile.mkdtemp(prefix=TEMPORARY[0], suffix=TEMPORARY[1], dir=path.parent))
                stack.callback(_remove, folder)
            if _lock_new(folder, path, stack):
                yield folder
                return


def _lock_new(folder: Path, work: Path, stack: ExitStack) -> bool:
    """Lock a new folder until the stack ends; False if another writer took it for what a kill had left, and removed it.

    That can only happen until it is locked. The lock of a folder that is gone would be made in another one.
    """
    try:
        made = folder.stat()
        stack.enter_context(locked(folder, work))
        return (folder / LOCK).exists() and os.path.samestat(made, folder.stat())
    except (FileNotFoundError, OutputInUse):
        return False
    except WriteError as error:  # it was gone; one that also removes what is left can have made it again, to lock it
        if not isinstance(error.__context__, FileNotFoundError) and folder.exists():
            raise
        return False


def _remove(folder: Path) -> None:
    with interrupts_held():
        shutil.rmtree(folder, ignore_errors=True)


def _move(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)  # unlike a check before a move, this cannot replace what appears in between
    except FileExistsError:
        raise _made_meanwhile(path) from None
    except OSError:  # a file system without links
        if path.exists():
            raise _made_meanwhile(path) from None
        temporary.replace(path)


def _made_meanwhile(path: Path) -> WriteError:
    return WriteError(f"'{path}' was made meanwhile, and is not replaced; move it, and start again.")


def write_together(
    writers: Mapping[Path, Callable[[Path], object]],
    replaceable: Collection[Path],
    before: Callable[[], object] = lambda: None,
) -> None:
    """Write files that belong together: none, if one cannot be written or may not replace what is there.

    Parameters
    ----------
    writers : mapping
        writers[path](temporary) writes what becomes the file at `path`. The last one is moved into place first.
    replaceable : collection of Path
        Those that may replace a file that is there by then.
    before : callable
        Called when all are written, before the first one is moved.

    Raises
    ------
    WriteError
        If one cannot be written, or may not be replaced.
    """
    with ExitStack() as stack:
        temporaries = {path: stack.enter_context(replacing(path, path in replaceable)) for path in writers}
        for path, write in writers.items():
            with writing(path):
                write(temporaries[path])
                flush(temporaries[path])
        for path in writers:
            if path not in replaceable and path.exists():
                raise _made_meanwhile(path)
        before()


def is_temporary(path: Path) -> bool:
    """Whether a path has a name as `replacing` gives to its temporary folders."""
    return path.name.startswith(TEMPORARY[0]) and path.name.endswith(TEMPORARY[1])


def remove_temporaries(folder: Path) -> None:
    """Remove the temporary folders that killed writers have left in `folder`: nobody holds their locks."""
    for left in folder.glob("*".join(TEMPORARY)):
        if left.is_symlink():
            continue
        with suppress(OSError, MosaicError):
            with locked(left, left):
                shutil.rmtree(left, ignore_errors=True)  # follows no links either
            left.rmdir()  # Windows does not remove a folder with a lock in it


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir():
        if os.name == "nt":
            return
        descriptor = os.open(path, os.O_RDONLY)
    else:
        descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # not every file system can for folders
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises
    ------
    WriteError
        If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None
