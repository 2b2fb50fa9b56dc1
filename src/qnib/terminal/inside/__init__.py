"""Scripts that run inside the containers, mounted read-only with the package."""
