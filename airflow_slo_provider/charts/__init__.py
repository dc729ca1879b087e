"""Charts and report pages: self-contained HTML and SVG, without scripts."""
