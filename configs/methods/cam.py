"""`cam`'s parameters where version 0.1 had them, for plugins whose defaults are this file; gone in version 0.3."""

_base_ = "classifier.py"
localize = dict(maps="cam")
# Such a plugin was written before there were test settings: its trainings may look at any of them.
test_settings = dict(_delete_=True)
