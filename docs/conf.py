"""Settings of the book: `make docs` builds it as a site into docs/_build/html, without network."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import spikedriven  # noqa: E402

project = "spikedriven"
author = "The spikedriven founders"
project_copyright = author
release = version = spikedriven.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "command_help",
    "docstring_lists",
    "source_links",
]
exclude_patterns = ["_build", "_ext", "jupyter_execute", "runs"]
default_role = "code"  # `name` in a docstring is code
smartquotes = False  # --option stays --option

# Pages: MyST Markdown. Headings get the anchors that GitHub gives them.
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline", "attrs_block"]
myst_heading_anchors = 4

# Notebooks run while the site is built, and again only where their text has changed.
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / ".jupyter_cache")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars and notes about missing widgets
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # no script from elsewhere

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "spikedriven"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_extra_path = ["llms.txt"]
html_copy_source = False
html_show_sourcelink = False
