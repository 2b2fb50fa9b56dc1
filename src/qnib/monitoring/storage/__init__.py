"""How long points are kept, in which steps, and how coarser steps are made of finer ones."""
