"""Serves the built UI below any prefix: its files, and for every other path its one page.

`npm ci && npm run build` in `ui/` fills the folder `static` beside this file; it is not in git, but in the wheel.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from qnib.errors import NotFound

STATIC = Path(__file__).parent / "static"

HEADERS = {
    # Log lines are hostile text: nothing but our own files may run, and nobody may frame us.
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'self'; form-action 'self'; object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # the address may carry the token once
    "X-Content-Type-Options": "nosniff",
}
FOREVER = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
FRESH = {**HEADERS, "Cache-Control": "no-cache"}

NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>QNIB</title>
<p>The API answers here, but the web UI is not built: run <code>npm ci &amp;&amp; npm run build</code>
in <code>ui/</code>.</p>
"""


def mount(app: FastAPI, static: Path = STATIC) -> None:
    """Let `app` answer every GET that no other route took with the UI. Call it after all other routes.

    Below a prefix (uvicorn's ``--root-path``) the page's ``<base href>`` says so, and all its addresses follow.
    Unknown paths under ``/api/`` raise NotFound, so that a program never reads a page where it asked for data.
    """
    root = static.resolve()

    @app.get("/{path:path}", include_in_schema=False)
    def ui(request: Request, path: str) -> Response:
        if path == "api" or path.startswith("api/"):
            raise NotFound(
                "The API has nothing at this path.",
                where=request.url.path,
                try_next="see /openapi.json for what there is.",
            )
        file = (root / path).resolve()
        if path and file.is_relative_to(root) and file.is_file() and file.name != "index.html":
            hashed = file.parent.name == "assets"
            return FileResponse(file, headers=FOREVER if hashed else FRESH)
        page = root / "index.html"
        if not page.is_file():
            return HTMLResponse(NOT_BUILT, headers=FRESH)
        if path.startswith("assets/"):
            # A page from before an update asks for files that are gone: the page itself would be no script.
            raise NotFound("This file of the UI is gone.", where=request.url.path, try_next="reload the page.")
        base = escape(str(request.scope.get("root_path", "")).rstrip("/") + "/", quote=True)
        return HTMLResponse(page.read_text().replace("<head>", f'<head><base href="{base}">', 1), headers=FRESH)
