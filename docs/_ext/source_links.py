"""Links from pages to files outside of docs: they lie beside the site as downloads.

MyST makes a download of a link to a file; a link to a folder of the repository, which no page can
open, becomes plain text. README, CONTRIBUTING and CHANGELOG are pages of the site.
"""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]


def folders_as_text(app: Sphinx, tree: nodes.document) -> None:
    """Before links are resolved: those to folders lose their target."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    for link in list(tree.findall(nodes.reference)):
        target = link.get("refuri", "")
        if "://" not in target and target and (here / target).is_dir():
            link.replace_self(link.children)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", folders_as_text)
    return {"parallel_read_safe": True}
