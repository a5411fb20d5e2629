"""Sphinx: the documentation as one site."""

project = "commonwheel"
author = "The commonwheel developers"
extensions = ["myst_parser", "sphinx.ext.extlinks"]
myst_heading_anchors = 3
html_theme = "furo"
exclude_patterns = ["picture.py"]
