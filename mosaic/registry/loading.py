"""Loading of plugins, one by one, so that a broken one does not affect the others.

pluggy's own entry-point loader stops at the first plugin with a bad hook signature and drops the second
of two distributions that use one entry-point name.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from mosaic.registry.hooks import GROUP
from mosaic.registry.plugin import CORE, Plugin, disabled_names, distribution_of
from mosaic.registry.registry import Registry

__all__ = ["load_registry", "registry"]


def load_registry(entries: Iterable[EntryPoint], disabled: Iterable[str] = ()) -> Registry:
    """Load plugins, each by itself: the built-ins first, then by distribution and name.

    Parameters
    ----------
    entries : iterable of EntryPoint
        Entry points of the group `mosaic`.
    disabled : iterable of str
        Keys (`distribution:entry`), distributions or entry names not to load.
    """
    result, skip = Registry(), set(disabled)

    def order(entry: EntryPoint) -> tuple[bool, str, str]:
        return distribution_of(entry)[0] != CORE, distribution_of(entry)[0], entry.name

    for entry in sorted(entries, key=order):
        distribution, version = distribution_of(entry)
        plugin = Plugin(f"{distribution}:{entry.name}", distribution, version)
        if skip & {plugin.key, distribution, entry.name}:
            plugin.status = "disabled"
            result.plugins.append(plugin)
            continue
        begin = time.perf_counter()
        try:
            with redirect_stdout(sys.stderr):  # a plugin must not print into a document on stdout
                module = entry.load()
        except BaseException as error:  # a plugin may even call sys.exit() at import
            if isinstance(error, KeyboardInterrupt):
                raise
            plugin.failed(error)
            result.plugins.append(plugin)
            continue
        plugin.seconds = round(time.perf_counter() - begin, 3)
        result.add(module, plugin)
    return result


_loading = threading.RLock()


def registry() -> Registry:
    """Load every installed plugin, once; `MOSAIC_DISABLE_PLUGINS=a,b` leaves some out."""
    with _loading:  # redirecting stdout is for the whole process: two threads would leave it redirected
        return _load_installed()


@cache
def _load_installed() -> Registry:
    # A distribution can be on the path twice (by an editable install, for example): the first one counts.
    unique = {(distribution_of(e)[0], e.name): e for e in reversed(list(entry_points(group=GROUP)))}
    return load_registry(unique.values(), disabled_names())
