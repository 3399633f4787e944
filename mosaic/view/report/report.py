"""`mosaic.report`: a page about stored runs, shown in a notebook or saved."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path

import xarray as xr

from mosaic.disk.atomic import replacing
from mosaic.errors import DataError, UsageError, warn_of
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.html import escaped
from mosaic.progress import Progress, reporting
from mosaic.registry.data import data_access
from mosaic.storage.files import check_free
from mosaic.storage.requirements import attribute_of, require, title_of
from mosaic.storage.trajectory import check_training_set, open_trajectory, training_set_of
from mosaic.view.report.contents import NEEDED
from mosaic.view.report.page import make_page

__all__ = ["Report", "check_page_path", "report"]

HEIGHT = 860  # of the page in a notebook, in CSS pixels
MOST_SHOWN = 20_000_000  # bytes of a page that a notebook shows


@dataclass(frozen=True, repr=False)
class Report:
    """A page about stored runs, as `mosaic.report` makes it. A notebook shows it.

    Attributes
    ----------
    title : str
        Of the page.
    page : str
        HTML; one self-contained document that needs no network.
    """

    title: str
    page: str

    def __repr__(self) -> str:
        size = len(self.page.encode())
        shown = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
        return f"Report({self.title!r}, {shown}; .save('report.html') writes it)"

    def _repr_html_(self) -> str:
        """Show the page in a frame of its own, of a fixed height; of a very large one, only its size."""
        if len(self.page.encode()) > MOST_SHOWN:
            return f"<p>{escaped(repr(self))}. It is too large for a notebook: save it, or choose fewer samples.</p>"
        # Scripts run, but see nothing of the notebook.
        return (
            f'<iframe sandbox="allow-scripts" title="{escaped(self.title)}" srcdoc="{escape(self.page)}" '
            f'style="width: 100%; height: {HEIGHT}px; border: 1px solid #d4d4d4"></iframe>'
        )

    @checked()
    def save(self, path: str | PathLike[str], overwrite: bool = False) -> Path:
        """Write the page to a file that ends in .html; gives its path.

        Raises
        ------
        UsageError, WriteError
            If the name ends otherwise, the file is there and `overwrite` is not set, or it cannot be written.
        """
        out = Path(path).expanduser()
        check_page_path(out, overwrite)
        with replacing(out, overwrite) as temporary:
            temporary.write_text(self.page, encoding="utf-8")
        return out


def check_page_path(out: Path, overwrite: bool) -> None:
    """Refuse a place for a page that does not end in .html, or that is taken."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"`out` '{out}' must end in .html.")
    check_free(out, overwrite)


@checked()
def report(
    runs: xr.Dataset
    | str
    | PathLike[str]
    | Sequence[xr.Dataset | str | PathLike[str]]
    | Mapping[str, xr.Dataset | str | PathLike[str]],
    *,
    samples: Sequence[int] | None = None,
    title: str | None = None,
    dataset: DataSet | None = None,
    data_dir: str | PathLike[str] | None = None,
    progress: Progress | bool | None = True,
) -> Report:
    """Make a page about one run, or several side by side with their differences.

    Parameters
    ----------
    runs : xarray.Dataset or path, or sequence or mapping of them
        Stored runs; a mapping names them. By default they go by their files' names.
    samples : sequence of int, optional
        Positions along `sample`; by default the first 16 that all runs have.
    title : str, optional
        Of the page; by default what the runs are of.
    dataset : DataSet, optional
        The training set of those runs that were made with it. Others' are read again, as their configuration says.
    data_dir : path, optional
        Folder of data files; by default MOSAIC_DATA.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`, in training images
        compared with samples.

    Returns
    -------
    Report
        A notebook shows it; `save` writes it. A warning names a run whose training set is not available, so that its
        training images are left out, and one that does not hold where its pixels come from.

    Raises
    ------
    UsageError
        If there is no run, a sample is not in one, or their images have different shapes.
    DataError
        If a run does not hold what is shown, or no run was made with `dataset`.
    """
    listed = [runs] if isinstance(runs, (xr.Dataset, str, PathLike)) else runs
    with ExitStack() as opened, reporting(progress) as reported:
        given = {
            name: run if isinstance(run, xr.Dataset) else opened.enter_context(open_trajectory(run))
            for name, run in (listed if isinstance(listed, Mapping) else _named(listed)).items()
        }
        shown = [(name, require(run, NEEDED, f"run '{name}'")) for name, run in given.items()]
        if not shown:
            raise UsageError("A report is of one run or more; none is given.")
        datasets, notes = _training_sets(shown, dataset, data_dir)
        title = ", ".join(dict.fromkeys(title_of(run) for _, run in shown)) if title is None else title
        page = make_page(shown, datasets, samples, title, reported)
    warn_of(notes)
    return Report(title, page)


def _file_of(run: xr.Dataset | str | PathLike[str]) -> Path | None:
    if isinstance(run, xr.Dataset):
        return Path(str(run.encoding["source"])) if "source" in run.encoding else None
    return Path(run).expanduser().absolute()


def _named(listed: Sequence[xr.Dataset | str | PathLike[str]]) -> dict[str, xr.Dataset | str | PathLike[str]]:
    """Name runs by their files, as far as these differ, and runs in memory by what they are of."""
    files = [_file_of(run) for run in listed]
    stems = Counter(file.stem for file in set(files) if file is not None)
    alike = [file for file in files if file is not None and stems[file.stem] > 1]
    folder = os.path.commonpath([file.parent for file in alike]) if alike else ""
    names: dict[str, xr.Dataset | str | PathLike[str]] = {}
    for run, file in zip(listed, files, strict=True):
        if file is None:
            name = (title_of(run) if isinstance(run, xr.Dataset) else "") or "run"
        else:
            name = file.stem if stems[file.stem] == 1 else Path(os.path.relpath(file, folder)).as_posix()
        number = 2
        unique = name
        while unique in names:
            unique, number = f"{name} ({number})", number + 1
        names[unique] = run
    return names


def _training_sets(
    runs: Sequence[tuple[str, xr.Dataset]], given: DataSet | None, data_dir: str | PathLike[str] | None
) -> tuple[list[DataSet | None], list[str]]:
    """The training set of each run, None where it is not available; and notes on what is left out."""
    wanted = [attribute_of(run, "dataset_fingerprint") for _, run in runs]
    read = {} if given is None else {given.fingerprint(): given}
    if given is not None and read.keys().isdisjoint(wanted):
        check_training_set(runs[0][1], given)
    notes = []
    for (name, run), fingerprint in zip(runs, wanted, strict=True):
        if "source_image" not in run:
            notes.append(f"Run '{name}' keeps no provenance, so its pixels cannot be traced (`save` provenance).")
        try:
            read[fingerprint] = read.get(fingerprint) or training_set_of(run, data_access(data_dir))
        except DataError as error:
            notes.append(f"The training images of run '{name}' are left out. {error}")
    return [read.get(fingerprint) for fingerprint in wanted], notes
