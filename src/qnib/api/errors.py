"""The one shape in which failures leave: {what, where, try_next}."""

from __future__ import annotations

import math

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from qnib.errors import QnibError, TooFast, Unavailable

_WAIT = 5  # seconds after which what was not there may be asked for again


def show_errors(app: FastAPI) -> None:
    """Every failure leaves as {what, where, try_next}."""

    @app.exception_handler(QnibError)
    def _foreseen(_request: Request, error: QnibError) -> JSONResponse:
        return JSONResponse(error.as_dict(), error.status, _headers(error))

    @app.exception_handler(RequestValidationError)
    def _misused(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse(
            {"what": f"Parameter {name!r}: {first['msg']}.", "where": request.url.path, "try_next": "see /api/docs."},
            400,
        )

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(
            {"what": str(error.detail), "where": request.url.path, "try_next": "see /api/docs."}, error.status_code
        )


def _headers(error: QnibError) -> dict[str, str] | None:
    if error.status == 401:
        return {"WWW-Authenticate": 'Basic realm="qnib"'}
    if isinstance(error, TooFast | Unavailable):
        return {"Retry-After": str(math.ceil(error.retry) if isinstance(error, TooFast) else _WAIT)}
    return None
