"""The command line: one verb per module, none of them imported before it is asked for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

VERBS: dict[str, str] = {
    "run": "run methods on a dataset, score every stage, write the leaderboard",
    "status": "what is done, running, failed and why",
    "why": "which part of a stage's key makes it be computed anew",
    "curves": "losses and learning rates of a run's trainings, as tables or drawn",
    "leaderboard": "build, show and check the comparison tables",
    "compare": "compare recipes with paired confidence intervals",
    "evaluate": "score a folder of seeds, labels or predictions",
    "export": "copy what a run made: labels, predictions, a segmentor",
    "data": "prepare, verify and describe datasets",
    "plugin": "list, describe, create and check methods",
    "cache": "look at, clean and verify the store of finished stages",
    "reproduce": "run a recorded run again and compare it, count by count",
    "doctor": "check this machine; print the line that repairs each fault",
}
"""Verb (and module in this package) to its line in ``--help``."""

_TITLE = "One harness for weakly-supervised semantic segmentation."
_MAIN_EXAMPLES = """\
examples:
  wsss-bench run --methods dsrg,vwe,ficklenet          train, score and compare three methods on the embedded data
  wsss-bench run --methods vwe/densecrf/_ --dry-run    mix the stages of several methods; show the plan
  wsss-bench VERB --help                               options and examples of one verb
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 something failed, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:
        # The reader (head, less) went away; Python must not complain about it when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("wsss-bench: interrupted.", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    from wsss_bench.errors import WsssError, did_you_mean

    verb = next(iter(arguments), "--help")
    if verb in VERBS:
        # The messages of these errors are meant for the user. Any other error is a fault of the harness: its traceback
        # is wanted.
        try:
            return _run_verb(verb, arguments[1:])
        except WsssError as error:
            print(f"wsss-bench {verb}: {error}", file=sys.stderr)
            return 2
    if not verb.startswith("-"):
        hint = did_you_mean(verb, VERBS)
        print(f"wsss-bench: there is no verb {verb!r}.{hint}", file=sys.stderr)
        return 2
    _main_parser().parse_args(arguments or ["--help"])
    return 2


def _main_parser() -> argparse.ArgumentParser:
    from wsss_bench import __version__

    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {line}" for verb, line in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="wsss-bench",
        usage="wsss-bench VERB [options]",
        description=f"{_TITLE}\n\nverbs:\n{verbs}",
        epilog=_MAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"wsss-bench {__version__}"
    parser.add_argument("--version", action="version", version=version)
    return parser


def _run_verb(verb: str, arguments: list[str]) -> int:
    module = import_module(f"wsss_bench.cli.{verb}")
    parser = argparse.ArgumentParser(
        prog=f"wsss-bench {verb}",
        description=module.HELP,
        epilog=f"examples:\n{module.EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # A new flag must not change what an abbreviation in somebody's script means.
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    args = parser.parse_args(_joined(arguments))
    # As typed: records keep it, and an interrupted run says it again.
    args.command_line = [verb, *arguments]
    status: int = module.run(args)
    return status


def _joined(arguments: Sequence[str]) -> list[str]:
    """Join ``--methods -/supervised/_`` to one word."""
    # `argparse` would take the recipe for an option.
    words: list[str] = []
    for word in arguments:
        if word.startswith("-/") and words and words[-1].startswith("--"):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words
