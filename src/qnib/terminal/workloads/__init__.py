"""Jobs that look like a site's: seen by every node in the mounted package, submitted by `loop.py` or by hand."""
