"""Refuses to package QNIB without its built web UI, so that no wheel ever lacks its pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WebAssets(BuildHookInterface[Any]):
    """Checks; it does not build, because users of a source tree may have no Node."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        static = Path(self.root) / "src/qnib/web/static"
        if not (static / "index.html").is_file() or not any((static / "assets").glob("*.js")):
            raise RuntimeError("The web assets are missing: run `npm ci && npm run build` in ui/ first.")
