"""The files of a result in progress: finished parts, and the one netCDF file that they are joined into.

A netCDF-4 file open for writing cannot be read, and a killed writer loses it. So each finished batch becomes
a file of its own, written under a temporary name and then moved into place, and so does the whole. A kill at
any moment, of the machine too, loses at most the batch in flight.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from mosaic.disk.atomic import flush, remove_temporaries, replacing
from mosaic.disk.failures import WriteError, write_error
from mosaic.disk.lock import OutputInUse, locked
from mosaic.errors import DataError, warn_of
from mosaic.netcdf.access import open_netcdf
from mosaic.storage.document import document_text, parse_document
from mosaic.storage.files import as_attribute, store, store_joined
from mosaic.storage.made_by import core_digest

__all__ = ["PartFiles", "join"]

IDENTITY, DIGEST = "identity.json", ".sha256"
# Entries of identity.json beside the identity: whether the work may replace a file at its place; and a random mark, by
# which a part of this work is told from one of another.
REPLACES, MARK = "overwrite", "mark"
SEVERAL = {"code", "workers"}  # root attributes that may differ between the parts of one result


class PartFiles:
    """A netCDF file, and its parts in `<path>.parts` until it is finished.

    The identity of the work in progress is kept with the parts; its entries become root attributes of the finished
    file. Parts without an identity are stale: a kill left them. A part counts if it has the SHA-256 that is kept beside
    it, of its content, its number and the mark of this work. What is damaged, or another's, is computed again.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.with_name(path.name + ".parts")
        self._removed, self._mark = False, ""

    def in_progress(self) -> dict[str, Any] | None:
        """Identity of what is in progress here; None where nothing is, or it is damaged."""
        kept = self._kept()
        return {key: value for key, value in kept.items() if key not in (REPLACES, MARK)} if kept else None

    def is_lost(self) -> bool:
        """Whether there is work in progress here of which the identity is damaged."""
        return (self.folder / IDENTITY).exists() and not self._kept()

    def may_replace(self) -> bool:
        """Whether the work in progress here was started with `overwrite`."""
        return self._kept().get(REPLACES) is True

    def _kept(self) -> dict[str, Any]:
        """What identity.json holds; empty where there is none, or it is damaged."""
        if (self.folder / IDENTITY).exists() and not (self.folder / IDENTITY).is_file():
            return {}
        try:
            return parse_document((self.folder / IDENTITY).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return {}
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"'{self.folder / IDENTITY}' cannot be read ({reason}).") from None

    def part(self, number: int) -> Path:
        """File of one finished batch."""
        return self.folder / f"part-{number:05d}.nc"

    def stale(self) -> list[Path]:
        """What is left of work whose identity is lost."""
        return list(self.folder.glob("part-*"))

    def write_part(self, number: int, dataset: xr.Dataset) -> None:
        """Store a finished batch, with the digest of the code that made it."""
        part = self.part(number)
        with replacing(part, sweep=False) as temporary:  # `hold` has looked, and the folder may hold many parts
            store(dataset.assign_attrs(code=core_digest()), temporary)
            with replacing(part.with_suffix(DIGEST), sweep=False) as beside:
                beside.write_text(self._digest(temporary, number))

    def finished(self, number: int) -> bool:
        """Tell whether a batch is finished; removes it if it is damaged, with a note."""
        part = self.part(number)
        if not part.exists():
            return False
        if self._is_whole(number):
            return True
        _discard(part)
        warn_of([f"'{part}' is damaged, or of other work; its batch is computed again."])
        return False

    @contextmanager
    def hold(self, *, resume: bool, overwrite: bool) -> Iterator[None]:
        """Make the folder for the parts where there is none, and lock it until the block ends.

        With `overwrite`, parts that are left there are removed first.

        Raises
        ------
        OutputInUse
            If another process has started here since the check, or is working on this.
        WriteError
            If it cannot be written, or is a link.
        """
        if self.folder.is_symlink():
            raise WriteError(f"'{self.folder}' is a link, which is not followed; remove it, or use another `out`.")
        if overwrite:
            self.clear()
        made, self._removed = True, False
        try:
            self.folder.mkdir()  # atomic: of two new runs that start here at once, one fails
            flush(self.folder.parent)
        except FileExistsError:
            made = False
            if not resume:
                raise OutputInUse(f"another run has just started at '{self.path}'; use another `out`.") from None
        except OSError as error:
            raise write_error(self.path, error) from None
        with locked(self.folder, self.path):
            remove_temporaries(self.folder)
            try:
                yield
            except BaseException:
                if made and not self._removed and not self._kept():
                    self.remove()
                raise
        self._sweep()

    def begin(self, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> bool:
        """Keep the identity of the work that begins or is resumed; tells whether it may replace a file at its place.

        It may if `overwrite` is set, or was set when the work started. It is called while the place is held.

        Raises
        ------
        OutputInUse
            If there is a file that it may not replace.
        """
        kept = self._kept()
        replaces = overwrite or (resume and self.may_replace())
        if self.path.exists() and not replaces:
            raise OutputInUse(f"'{self.path}' was made since, by something else; move it, or use another `out`.")
        if not kept:
            if (self.folder / IDENTITY).exists():
                warn_of([f"'{self.folder / IDENTITY}' is damaged; all batches are computed again."])
            for stale in self.stale():
                _discard(stale)
        self._mark = str(kept.get(MARK) or secrets.token_hex(16))
        with replacing(self.folder / IDENTITY) as temporary:
            temporary.write_text(document_text({**identity, REPLACES: replaces, MARK: self._mark}))
        return replaces

    def finish(
        self,
        count: int,
        attributes: Mapping[str, str],
        complete: Callable[[xr.Dataset], xr.Dataset] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Join the parts into the file, with `attributes` on its root, and remove them.

        One part is in memory at a time. What `complete` makes of the whole needs all of it in memory.

        Raises
        ------
        DataError
            If a part was damaged meanwhile.
        WriteError
            If the file cannot be written, or there is one by now that may not be replaced.
        """
        with replacing(self.path, overwrite) as temporary:
            if complete is None:
                self._join(count, attributes, temporary)
            else:
                store(complete(self._joined(count, attributes)), temporary)
        self.remove()

    def _joined(self, count: int, attributes: Mapping[str, str]) -> xr.Dataset:
        """Join what is in the files of the parts, in memory."""
        return join([self._load(number) for number in range(count)], attributes)

    def _join(self, count: int, attributes: Mapping[str, str], temporary: Path) -> None:
        """Write the parts as one file."""
        own, samples = [], 0
        for number in range(count):
            with open_netcdf(self._whole(number)) as part:
                own.append(part.attrs)
                samples += part.sizes.get("sample", 0)
        with open_netcdf(self.part(0)) as first:
            parts = map(self.part, range(count))
            try:
                store_joined(first, parts, samples, temporary, {**attributes, **_several(own)})
            except ValueError as error:
                raise DataError(
                    f"The parts in '{self.folder}' do not fit together: {error}; use `overwrite`."
                ) from None

    def _whole(self, number: int) -> Path:
        """File of a part, which must not be damaged."""
        if not self._is_whole(number):
            raise DataError(f"'{self.part(number)}' was damaged meanwhile; resume the work to compute it again.")
        return self.part(number)

    def _load(self, number: int) -> xr.Dataset:
        with open_netcdf(self._whole(number)) as stored:
            return stored.load()

    def _is_whole(self, number: int) -> bool:
        part = self.part(number)
        if not (part.is_file() and part.with_suffix(DIGEST).is_file()):  # a pipe would keep its reader waiting
            return False
        try:
            return part.with_suffix(DIGEST).read_bytes().decode("ascii", "replace") == self._digest(part, number)
        except OSError:
            return False

    def _digest(self, part: Path, number: int) -> str:
        with part.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        digest.update(f"{number} {self._mark or self._kept().get(MARK)}".encode())
        return digest.hexdigest()

    def abandon(self) -> None:
        """Remove the folder for the parts if no batch was finished."""
        if not self.kept_parts():
            self.remove()

    def kept_parts(self) -> int:
        """Count the finished batches."""
        return len(list(self.folder.glob("part-*.nc")))

    def clear(self) -> None:
        """Remove parts that are left here.

        Raises
        ------
        OutputInUse
            If another process is working on them.
        """
        if self.folder.exists():
            with locked(self.folder, self.path):
                self.remove()
            self._sweep()

    def remove(self) -> None:
        """Remove the identity, then the parts: a kill between leaves stale parts, not a run that lacks some."""
        (self.folder / IDENTITY).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._removed = True

    def _sweep(self) -> None:
        """Remove what `remove` could not while the lock was held: Windows does not remove open files."""
        if os.name == "nt" and not self._kept():
            shutil.rmtree(self.folder, ignore_errors=True)


def _several(parts: Iterable[Mapping[Any, Any]]) -> dict[str, str]:
    """Root attributes of parts that name what made them: several of it, where it was not the same for all parts."""
    kinds: dict[str, set[str]] = {}
    for attributes in parts:
        for name in attributes.keys() & SEVERAL:
            kinds.setdefault(name, set()).add(str(attributes[name]))
    return {name: " ".join(sorted(values)) for name, values in sorted(kinds.items())}


def _discard(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise write_error(path, error) from None


def join(parts: Sequence[xr.Dataset], attributes: Mapping[str, str]) -> xr.Dataset:
    """Join batches along `sample`, in this order; variables without it are those of the first batch."""
    whole = xr.concat(parts, dim="sample", data_vars="minimal", coords="minimal", compat="override", join="override")
    return whole.assign_attrs({**attributes, **_several(part.attrs for part in parts)})


def encoded(identity: Mapping[str, Any]) -> dict[str, str]:
    """Write each entry of an identity as a root attribute."""
    return {key: as_attribute(value) for key, value in identity.items()}
