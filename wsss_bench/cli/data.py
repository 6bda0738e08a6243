"""``wsss-bench data``: look at a dataset, check it, make it ready."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.cli._flags import add_dataset_arguments, dataset_from_args, say
from wsss_bench.errors import WsssError

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset, Finding

HELP = "show, verify and prepare datasets"
EXAMPLES = """\
  wsss-bench data info                                              # the embedded shapes data
  wsss-bench data verify --dataset voc2012 --data-root ~/data       # what is missing or broken, and how to get it
  wsss-bench data verify --dataset voc2012 --write-skip broken.txt  # then: wsss-bench run --skip broken.txt …
  wsss-bench data prepare --dataset coco2014 --data-root ~/data     # rasterise the masks once
  wsss-bench data prepare --dataset voc2012 --data-root ~/data --download
"""

VERBS = {
    "info": "splits, counts and classes",
    "verify": "check counts, missing or broken files, palettes, sizes, labels against masks; exit code 1 on errors",
    "prepare": "draw the shapes data, rasterise COCO's masks; with --download, fetch and unpack first",
}
_WRITE_SKIP = "list the ids of unusable images, for --skip FILE"
_DOWNLOAD = "fetch and unpack the archives into the data root first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs and their flags."""
    verbs = parser.add_subparsers(dest="data_verb", required=True, metavar="VERB")
    for name, text in VERBS.items():
        verb = verbs.add_parser(name, help=text, description=text.capitalize() + ".")
        add_dataset_arguments(verb)
        add = verb.add_argument
        add("--json", action="store_true", help="print JSON instead of text")
        if name == "verify":
            add("--write-skip", type=Path, metavar="FILE", help=_WRITE_SKIP)
        if name == "prepare":
            add("--download", action="store_true", help=_DOWNLOAD)


def run(args: argparse.Namespace) -> int:
    """Run the chosen verb; 0 when all is well, 1 when `verify` found errors."""
    if args.data_verb == "prepare" and args.download:
        from wsss_bench.data.download import download

        download(args.dataset, args.data_root, progress=_ProgressLine())
    dataset = dataset_from_args(args)
    if args.data_verb == "verify" and args.write_skip is not None:
        from wsss_bench.data.skipping import write_skip_list

        say(write_skip_list(dataset, args.write_skip, _ProgressLine()))
    verb = {"info": _info, "verify": _verify, "prepare": _prepare}[args.data_verb]
    return verb(dataset, args.json)


class _ProgressLine:
    """Progress on standard error: one line that is rewritten on a terminal, every tenth part elsewhere."""

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        live = sys.stderr.isatty()
        step = (what, (100 if live else 10) * done // max(total, 1))
        if step == self._last:
            return
        self._last = step
        # On a terminal the line stays open, for the next one to be written over it.
        end = "\n" if not live or done >= total else ""
        start = "\r" if live else ""
        text = f"{start}{what}: {done:,}/{total:,}"
        print(text, end=end, file=sys.stderr, flush=True)


def _describe(dataset: Dataset) -> dict[str, Any]:
    splits = dataset.available_splits()
    return {
        **dataset.facts(),
        "root": str(dataset.root),
        "class_names": list(dataset.classes),
        "images": {split: _describe_split(dataset, split) for split in splits},
    }


def _describe_split(dataset: Dataset, split: str) -> dict[str, Any]:
    images = len(dataset.image_view(split))
    try:
        view = dataset.weak_view(split)
        tags = Counter(label for image in view for label in image.present)
    except WsssError as error:
        # Labels of a test split are hidden, and a table may be missing: the rest can be told all the same.
        return {"images": images, "labels": str(error)}
    by_class = {name: tags[k] for k, name in enumerate(dataset.classes) if k}
    return {"images": images, "images_by_class": by_class}


def _info(dataset: Dataset, as_json: bool) -> int:
    facts = _describe(dataset)
    if as_json:
        print(json.dumps(facts, indent=1))
        return 0
    print(f"{facts['name']} ({facts['kind']}) at {facts['root']}")
    print(f"labels: {facts['labels_source']}")
    for split, entry in facts["images"].items():
        roles = [role for role, of in facts["splits"].items() if of == split]
        print(f"  {split:<12} {entry['images']:>7,} images  {', '.join(roles)}")
    _print_classes(facts["splits"]["train"], facts["images"])
    return 0


def _print_classes(split: str, images: Mapping[str, Any]) -> None:
    trained = images.get(split, {})
    if "images_by_class" in trained:
        by_class = trained["images_by_class"].items()
        counts = ", ".join(f"{name} {count:,}" for name, count in by_class)
        print(f"classes in {split}: {counts}")
    elif "labels" in trained:
        print(f"no labels for {split}: {trained['labels']}")


def _verify(dataset: Dataset, as_json: bool) -> int:
    from wsss_bench.data.opening import verify_dataset

    findings = verify_dataset(dataset, _ProgressLine())
    tally = Counter(finding.level for finding in findings)
    errors, warnings = tally["error"], tally["warning"]
    if as_json:
        facts = {
            "name": dataset.name,
            "root": str(dataset.root),
            "errors": errors,
            "warnings": warnings,
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(facts, indent=1))
    else:
        _print_findings(findings)
        verdict = "broken" if errors else "usable"
        counts = f"({errors} errors, {warnings} warnings)"
        print(f"{dataset.name} at {dataset.root}: {verdict} {counts}")
    return 1 if errors else 0


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        fix = f" {finding.fix}" if finding.fix else ""
        print(f"{finding.level:<8} {finding.where}: {finding.what}{fix}")


def _prepare(dataset: Dataset, as_json: bool) -> int:
    dataset.prepare(_ProgressLine())
    facts = {"name": dataset.name, "root": str(dataset.root)}
    ready = f"{dataset.name} is ready at {dataset.root}"
    print(json.dumps(facts) if as_json else ready)
    return 0
