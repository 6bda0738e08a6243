"""Files that every generated project has; ``@WORD@`` is filled in by `wsss_bench.testing.template.project`."""

from __future__ import annotations

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "@DISTRIBUTION@"
version = "0.1.0"
description = "@NAME@: a @KIND@ for wsss-bench"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["wsss-bench>=0.1"]

[project.optional-dependencies]
test = ["pytest>=8"]

# This line makes the method known: its name, and the object that carries its hooks.
[project.entry-points."wsss_bench.methods"]
@NAME@ = "@PACKAGE@.plugin:plugin"

[tool.setuptools]
packages = ["@PACKAGE@"]

[tool.setuptools.package-data]
"@PACKAGE@" = ["README.md"]
"""

README = """\
# @DISTRIBUTION@

`@NAME@`, a @KIND@ for [wsss-bench](https://pypi.org/project/wsss-bench/): @SUMMARY@

    pip install -e '.[test]'
    wsss-bench plugin check @NAME@                  # does it keep the contract?
    wsss-bench run --methods cam,@RECIPE@           # how does it compare, on the embedded data?
    pytest

What it does is in `@PACKAGE@/plugin.py`; what it needs and how it differs from its paper belongs in `@PACKAGE@/README.md`.
"""

IGNORE = """\
__pycache__/
*.egg-info/
build/
dist/
work_dirs/
"""

INIT = '''\
"""@NAME@: a @KIND@ for wsss-bench."""
'''

CARD = """\
# @NAME@: (title)

(Authors, *title*, venue year.)

**Stage:** @STAGE@. **Supervision:** image labels. **Extra data:** none.

@RULE@

| parameter | default | where paper, code and this implementation differ |
| --- | --- | --- |
| | | |

Published: (number, dataset, split, and where it stands).
"""

TEST = '''\
"""The contract, through the harness's own kit; and the method's rule, on numbers done by hand."""

from __future__ import annotations

from wsss_bench.testing import check_method


def test_keeps_the_contract() -> None:
    check_method("@NAME@").require()
'''
