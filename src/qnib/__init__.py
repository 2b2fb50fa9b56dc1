"""QNIB joins the layers of a compute cluster: terminal, monitoring, inventory, dashboards.

Kept free of imports: the agent on a node loads this package and has 15 MB to live in.
"""

__version__ = "0.1.0"
