"""The documentation as a site: ``make docs``, into ``build/docs``."""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import fmnist_cli

project = "fmnist"
release = fmnist_cli.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
language = "en-gb"

html_theme = "furo"
html_title = "fmnist"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_math_renderer = "mathml"  # which browsers draw themselves: no script from elsewhere

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

add_module_names = False
napoleon_custom_sections = [("Attributes", "params_style")]  # a list, several names a row
autodoc_member_order = "bysource"
# numpydoc's types are prose ("int >= 1"), and no other project's index is asked for names
nitpick_ignore_regex = [
    ("py:.*", r"(?!fmnist_cli\.).*"),
    ("py:class", r"fmnist_cli\.report\..*"),  # what a report is made of: not for callers
    ("py:class", r"fmnist_cli\.analysis\.(comparison|statistics)\..*"),  # inside what is returned
    ("py:class", r"fmnist_cli\.registry\.queries\.Reader"),  # what a Registry reads by
]


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    formula = tex2mathml(node.astext(), as_block=True)
    self.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
