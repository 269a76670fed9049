"""What all HTML pages have in common: one file each, no scripts, no network, light and dark, a phone's width.

environment("tunesmith.evaluate").get_template("report.html")     # {% include "head.html" %}, {% include "base.css" %}
svg(draw, name="loss", height=3.2)                                 # a chart in the page's fonts and colours
"""

from tunesmith.pages.drawing import BLUE, FAINT, INK, MUTED, ORANGE, PAGE, svg
from tunesmith.pages.environment import environment

__all__ = ["BLUE", "FAINT", "INK", "MUTED", "ORANGE", "PAGE", "environment", "svg"]
