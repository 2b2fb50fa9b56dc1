"""Software by its content: ten thousand hosts with the same packages have one set of them (docs/decisions/0008)."""

from __future__ import annotations

from qnib.model import EntityKind, RelationKind

ENTITIES = (
    EntityKind(
        "SoftwareSet", "All packages, modules or libraries that are together somewhere; known by its content",
        key="digest of what it holds",
        properties={
            "name": "string", "what": "string", "size": "int", "base": "string", "changes": "int", "list": "string",
        },
        lasting=True,
    ),
    EntityKind(
        "Package", "One version of a package", key="its file's name: name_version_arch.deb, name-version.arch.rpm",
        properties={"name": "string", "version": "string", "arch": "string", "format": "string"}, lasting=True,
    ),
    EntityKind(
        "Module", "An environment module: what `module load` takes", key="name/version",
        properties={"name": "string", "version": "string"}, lasting=True,
    ),
    EntityKind(
        "Library", "One build of a shared library or of another file that is mapped as code", key="path#build",
        properties={"name": "string", "version": "string", "path": "string", "build": "string", "package": "string"},
        lasting=True,
    ),
)

RELATIONS = (
    RelationKind(
        "HAS_SOFTWARE", "Host", "SoftwareSet", "These are the packages installed, or the modules available, there",
        properties={"what": "string"},
    ),
    RelationKind(
        "LOADED", "Job", "SoftwareSet", "A host of the job had these libraries or modules loaded for it",
        properties={"what": "string"},
    ),
    RelationKind(
        "LOADED_ON", "Job", "Host", "What the job had loaded on that host, by the keys of the sets",
        properties={"libraries": "string", "modules": "string"},
    ),
    *(
        RelationKind("HOLDS", "SoftwareSet", kind, "It is in the set; a set with a base tells only what it adds",
                     lasting=True)
        for kind in ("Package", "Module", "Library")
    ),
    *(
        RelationKind("LACKS", "SoftwareSet", kind, "It is in the set's base and not in the set", lasting=True)
        for kind in ("Package", "Module", "Library")
    ),
    RelationKind("VARIES", "SoftwareSet", "SoftwareSet", "The set is its base but for what it adds and lacks",
                 lasting=True),
)
