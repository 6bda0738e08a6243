"""What was set differently in two runs: picks, fairness columns, parameters, contents of files, masks."""

from __future__ import annotations

import json
from collections.abc import Mapping

from wsss_bench.boards.grouping import DIGITS, given
from wsss_bench.boards.sections import truths
from wsss_bench.results.records import RunRecord

Settings = Mapping[str, tuple[str, str]]
"""What is set differently, as ``name: (first, second)``."""


def different(first: RunRecord, second: RunRecord) -> Settings:
    """Return what is set differently; a dash stands for what one of the two does not have."""
    left, right = _flat(first), _flat(second)
    found = {}
    for name in sorted({*left, *right}):
        one, other = left.get(name, "–"), right.get(name, "–")
        if one != other:
            found[name] = (one, other)
    return found


def _flat(record: RunRecord) -> dict[str, str]:
    """Return everything that is set in a run as one table of texts."""
    found = {}
    for stage, method in record.picks.items():
        found[f"pick {stage}"] = str(method)
    for name, value in record.columns.items():
        found[name] = str(value)
    found["profile"] = record.profile
    for stage, params in record.params.items():
        # Records of other people's files may hold anything there; a table of parameters is what can be compared.
        if not isinstance(params, Mapping):
            continue
        for name, value in params.items():
            text = json.dumps(value, sort_keys=True, default=str)
            found[f"{stage}.{name}"] = text
    # Two folders of one name look the same among the parameters.
    for name, digest in given(record).items():
        found[f"contents of {name}"] = digest[:DIGITS]
    for role, named in truths([record]).items():
        found[f"truth of {role}"] = " and ".join(named)
    return found
