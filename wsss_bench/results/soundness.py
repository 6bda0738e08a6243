"""What a run record must say: fields, types, versions, names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wsss_bench.evaluate import PROTOCOL

SCHEMA = 1
"""Version of a record's fields; one that older versions could not read right needs a new number."""

COUNTS = ("seeds_best", "seeds_fixed", "labels", "val", "val_crf")
"""What may have been scored: seeds at the oracle and at the fixed threshold, pseudo-labels, predictions without and
with CRF."""

ORIGINS = ("measured", "imported")
"""By the harness, or from other people's files."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@-]*")

FIELDS: dict[str, tuple[type, ...]] = {
    "run_id": (str,),
    "recipe": (str,),
    "picks": (Mapping,),
    "dataset": (Mapping,),
    "seed": (int,),
    "profile": (str,),
    "columns": (Mapping,),
    "protocol": (str,),
    "cards": (Mapping,),
    "params": (Mapping,),
    "passed": (Mapping,),
    "thresholds": (Mapping,),
    "counts": (Mapping,),
    "curve": (str, type(None)),
    "cost": (Mapping,),
    "device": (str,),
    "machine": (Mapping,),
    "code": (Mapping,),
    "files": (Mapping,),
    "keys": (Mapping,),
    "command": (list, tuple),
    "versions": (Mapping,),
    "finished": (str,),
    "origin": (str,),
    "schema": (int,),
    "inputs": (Mapping,),
    "modules": (Mapping,),
    "overridden": (Mapping,),
    "notes": (list, tuple),
}
"""Every field and what JSON may hold there."""

_REQUIRED = (
    "schema",
    "run_id",
    "recipe",
    "picks",
    "dataset",
    "seed",
    "profile",
    "columns",
    "protocol",
)
"""Fields without which nothing can be made of a record."""

_DATASET: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "kind": str,
    "splits": Mapping,
    "sizes": Mapping,
    "classes": (list, tuple),
    "fingerprint": str,
}
"""What the dataset of a record must say."""


def problems(payload: object) -> list[str]:
    """Return everything wrong with a record as read from JSON, as sentences; empty when it is sound."""
    if not isinstance(payload, Mapping):
        return ["it is no JSON object."]
    found = [f"field {name!r} is missing." for name in _REQUIRED if name not in payload]
    for name, types in FIELDS.items():
        if name in payload and not _is_one_of(payload[name], types):
            wanted = " or ".join(t.__name__ for t in types)
            given = type(payload[name]).__name__
            found.append(f"field {name!r} must be {wanted}, not {given}.")
    # What follows looks into the fields, and needs all of them there and of the right types.
    return found or _versions(payload) + _names(payload) + _told(payload)


def _is_one_of(value: object, types: tuple[type, ...]) -> bool:
    # To Python true is an int; as a seed it is a mistake.
    if isinstance(value, bool) and int in types:
        return False
    return isinstance(value, types)


def _versions(payload: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with schema, protocol and the description of the dataset."""
    found = []
    schema, protocol = payload["schema"], payload["protocol"]
    if schema != SCHEMA:
        found.append(
            f"it has schema {schema}, this version reads {SCHEMA}. "
            "Upgrade wsss-bench: pip install -U wsss-bench"
        )
    # Numbers of two protocols must never stand in one table.
    if protocol != PROTOCOL:
        found.append(
            f"it was scored under protocol {protocol!r}, boards show {PROTOCOL!r} only."
        )
    for name, kind in _DATASET.items():
        if not isinstance(payload["dataset"].get(name), kind):
            found.append(f"dataset.{name} is missing or of the wrong type.")
    # Older records do not say under which convention their masks score.
    if not _texts(payload["dataset"].get("truth", {})):
        found.append("dataset.truth must name one sentence per role.")
    return found


def _told(payload: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the fields that older records lack."""
    found = []
    if not _texts(payload.get("inputs", {})):
        found.append("inputs must name one digest per input.")
    if not all(isinstance(note, str) for note in payload.get("notes", ())):
        found.append("notes must be sentences.")
    for stage, values in payload.get("overridden", {}).items():
        if not (isinstance(values, Mapping) and all(map(_is_pair, values.values()))):
            found.append(f"overridden.{stage} must name [own, in force] by parameter.")
    return found


def _texts(value: object) -> bool:
    """Return whether a value is a table of texts."""
    if not isinstance(value, Mapping):
        return False
    return all(isinstance(text, str) for text in value.values())


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def _names(payload: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with names of files, of scores and of the record's origin."""
    counts = payload.get("counts", {})
    names = {
        "run_id": payload["run_id"],
        "dataset.name": payload["dataset"].get("name", "x"),
    }
    names |= {f"counts.{what}": file for what, file in counts.items()}
    if payload.get("curve") is not None:
        names["curve"] = payload["curve"]
    # These become paths: a record of unknown origin must not lead out of its folder.
    found = [
        f"{where} {name!r} must be a plain file name."
        for where, name in names.items()
        if not (isinstance(name, str) and _NAME.fullmatch(name))
    ]
    for what in counts:
        if what not in COUNTS:
            found.append(f"counts name {what!r}; known are {', '.join(COUNTS)}.")
    origin = payload.get("origin", "measured")
    if origin not in ORIGINS:
        found.append(f"origin is {origin!r}; known are {', '.join(ORIGINS)}.")
    return found
