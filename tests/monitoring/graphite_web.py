"""Runs a real graphite-web beside us: reads requests as lines of JSON, answers each with a line of JSON.

Started by the Python of an environment of its own, for graphite-web needs an old Django: ``graphite_web.py FOLDER``.
The first line, ``{"series": {path: {"step": s, "slots": n, "points": [[time, value], …]}}}``, becomes whisper files in
FOLDER; with ``archives``, ``xff``, ``method`` and ``writes``, [[now, points], …], files of several archives. Each
further line is ``{"path": "/render", "params": [[name, value], …]}``, by ``"method": "post"`` as a form, or with
``"json"`` as a body of JSON; ``"accept"`` is what is wanted. Series are known by their tags, as carbon makes them.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
import types
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])


def configure() -> None:
    local: Any = types.ModuleType("graphite.local_settings")
    local.GRAPHITE_ROOT = str(FOLDER)
    local.STORAGE_DIR = local.LOG_DIR = str(FOLDER)
    local.CONF_DIR = str(FOLDER)
    local.WHISPER_DIR = str(FOLDER / "whisper")
    local.STANDARD_DIRS = [local.WHISPER_DIR]
    local.SECRET_KEY = "beside"
    local.TIME_ZONE = "UTC"
    local.ALLOWED_HOSTS = ["*"]
    local.TAGDB = "graphite.tags.localdatabase.LocalDatabaseTagDB"
    local.CLUSTER_SERVERS = []
    local.MEMCACHE_HOSTS = []
    local.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(FOLDER / "graphite.db")}}
    sys.modules["graphite.local_settings"] = local
    # Gone since Python 3.11, and what /functions writes the calls by
    inspect.getargspec = inspect.getfullargspec  # type: ignore[attr-defined]
    inspect.formatargspec = lambda args, *rest: f"({', '.join(args)})"  # type: ignore[attr-defined]
    os.environ["DJANGO_SETTINGS_MODULE"] = "graphite.settings"
    os.environ["TZ"] = "UTC"
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    settings.CARBONLINK_HOSTS = []
    call_command("migrate", "--run-syncdb", verbosity=0)


def write(series: dict[str, Any], now: int) -> None:
    """Whisper files that hold all points; whisper itself would take them for too old, or for the future."""
    import whisper
    from graphite.storage import STORE
    from graphite.tags.utils import TaggedSeries

    STORE.tagdb.tag_multi_series(list(series))
    for path, told in series.items():
        file = FOLDER / "whisper" / (TaggedSeries.encode(path, sep="/") + ".wsp")
        file.parent.mkdir(parents=True, exist_ok=True)
        archives = [tuple(archive) for archive in told.get("archives", [(told.get("step"), told.get("slots"))])]
        whisper.create(str(file), archives, told.get("xff", 0.0), told.get("method", "average"))
        for at, points in told.get("writes", [(now, told.get("points"))]):
            whisper.update_many(str(file), [tuple(point) for point in points], now=at)


def main() -> None:
    configure()
    from django.test import Client

    first = json.loads(sys.stdin.readline())
    write(first["series"], first["now"])
    client = Client()
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        params: dict[str, list[str]] = {"noCache": ["1"]}
        for name, value in asked["params"]:
            params.setdefault(name, []).append(value)
        began = time.perf_counter()
        try:
            if "json" in asked:
                answer = client.post(asked["path"], json.dumps(asked["json"]), content_type="application/json")
            else:
                accept = {"HTTP_ACCEPT": asked["accept"]} if "accept" in asked else {}
                answer = getattr(client, asked.get("method", "get"))(asked["path"], params, **accept)
            told: dict[str, Any] = {"status": answer.status_code, "text": answer.content.decode("utf-8", "replace")}
        except Exception as error:  # noqa: BLE001 - whatever it fails by, it is its answer
            told = {"status": 500, "text": f"{type(error).__name__}: {error}"}
        print(json.dumps({**told, "seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
