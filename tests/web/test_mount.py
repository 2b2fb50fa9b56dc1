"""The UI's files, its one page for every other path, and what is never answered with a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from qnib import web
from qnib.errors import QnibError


def client(static: Path, root_path: str = "") -> TestClient:
    app = FastAPI()

    @app.exception_handler(QnibError)
    def told(request: Request, error: QnibError) -> JSONResponse:
        return JSONResponse(error.as_dict(), error.status)

    web.mount(app, static)
    return TestClient(app, root_path=root_path)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><html><head><title>QNIB</title></head><body></body></html>")
    (tmp_path / "assets/index-abc.js").write_text("export {}")
    (tmp_path.parent / "secret.txt").write_text("not for the web")
    return tmp_path


@pytest.mark.parametrize("path", ["/", "/job/42@1763632800", "/fabric", "/index.html"])
def test_every_page_is_the_index_with_its_base(built: Path, path: str) -> None:
    answer = client(built).get(path)
    assert answer.status_code == 200
    assert '<head><base href="/">' in answer.text
    assert answer.headers["cache-control"] == "no-cache"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_the_base_follows_a_prefix(built: Path) -> None:
    assert '<base href="/tools/qnib/">' in client(built, "/tools/qnib").get("/jobs").text


def test_hashed_files_may_be_kept_forever(built: Path) -> None:
    answer = client(built).get("/assets/index-abc.js")
    assert answer.text == "export {}"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["/api/nothing", "/api", "/assets/index-old.js"])
def test_programs_and_scripts_never_get_a_page(built: Path, path: str) -> None:
    answer = client(built).get(path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"what", "where", "try_next"}


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/%2e%2e/%2e%2e/secret.txt"])
def test_nothing_outside_the_folder_is_served(built: Path, path: str) -> None:
    assert "not for the web" not in client(built).get(path).text


def test_not_built_says_how(tmp_path: Path) -> None:
    answer = client(tmp_path / "absent").get("/")
    assert answer.status_code == 200
    assert "npm run build" in answer.text
