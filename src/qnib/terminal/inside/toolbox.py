"""Copies this Python and all it needs to a folder from which it runs in any image: toolbox.py FOLDER

An image that jobs run in may have another C library or none, and no Python. So the dynamic loader, the libraries and
those modules that wrapped.py imports are taken along; `loader` in the folder names the first of them.
"""

import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(__file__))
__import__("wrapped")  # what it imports is what has to be there


def main(folder: str) -> None:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = os.path.dirname(os.__file__)
    for place in ("bin", "lib", f"lib/{version}/lib-dynload"):
        os.makedirs(f"{folder}/{place}", exist_ok=True)
    shutil.copy(os.path.realpath(sys.executable), f"{folder}/bin/python3")
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None) or ""
        if file.startswith(f"{library}/"):
            target = f"{folder}/lib/{version}/{file[len(library) + 1:]}"
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(file, target)
    loader = ""
    with open("/proc/self/maps") as maps:
        loaded = {line.split(maxsplit=5)[5].strip() for line in maps if line.count("/") and ".so" in line}
    for file in loaded:
        name = os.path.basename(file)
        if not file.startswith(f"{library}/"):
            shutil.copy(file, f"{folder}/lib/{_soname(file)}")
        if name.startswith("ld-"):
            loader = _soname(file)
    with open(f"{folder}/loader", "w") as out:
        out.write(loader)


def _soname(file: str) -> str:
    """The name a library is looked up by: the shortest link to it beside it (libz.so.1 for libz.so.1.3.1)."""
    place = os.path.dirname(file)
    names = [
        name for name in os.listdir(place)
        if ".so." in name and os.path.realpath(f"{place}/{name}") == os.path.realpath(file)
    ]
    return min(names, key=len, default=os.path.basename(file))


main(sys.argv[1])
