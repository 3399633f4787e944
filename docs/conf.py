"""Sphinx: `sphinx-build -W docs build/site` builds the site, from the folder of the project.

With DOCS_ONLINE=1 names of other libraries become links to their documentation: their inventories are fetched.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "mosaic"
author = "the mosaic developers"
copyright = "2026, the mosaic developers"
version = release = version_of("mosaic-diffusion")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "generated",
    "mathml",
]
exclude_patterns = ["extensions", "static"]

# Pages. Code cells of pages run when the site is built; the notebook's are stored, and a test runs them.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_excludepatterns = ["*.ipynb"]
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

# Docstrings.
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_default_options = {"exclude-members": "Options, model_config, model_post_init"}
default_role = "code-or-link"  # in docstrings
nitpick_ignore_regex = [("py:class", r"(?!mosaic\.\w+$).*")]  # types of other libraries, and of none
nitpick_ignore = [("py:exc", "WriteError"), ("py:meth", "PluginManager.register")]
suppress_warnings = ["ref.python"]  # of types in docstrings that are words, such as shape
add_module_names = False

# Links to other libraries.
INVENTORIES = {
    "python": "https://docs.python.org/3/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "xarray": "https://docs.xarray.dev/en/stable/",
    "dask": "https://docs.dask.org/en/stable/",
    "distributed": "https://distributed.dask.org/en/stable/",
    "pydantic": "https://pydantic.dev/docs/validation/latest/",
}
intersphinx_mapping = {name: (url, None) for name, url in INVENTORIES.items()} if os.environ.get("DOCS_ONLINE") else {}
intersphinx_timeout = 20
linkcheck_timeout = 20

# The site.
html_theme = "furo"
smartquotes = False
html_title = f"mosaic {version}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["static"]
html_search_scorer = str(Path(__file__).parent / "static" / "scorer.js")
html_css_files = ["site.css"]
copybutton_prompt_text = r"^\$ |^>>> |^\.\.\. "
copybutton_prompt_is_regexp = True
pygments_style = "tango"
pygments_dark_style = "github-dark"
