"""What a network is made of: each part by the class that it is, so that any process finds the same one again.

An mmseg config names its parts by the word under which they were registered. That word is known only where the module
that registers it was imported, and two plugins may use one word for two classes. So a config is written with full
names (``module.Class``) wherever a class can be found by one, and with the modules that register the rest.
"""

from __future__ import annotations

import copy
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, TypeVar

from mmseg.registry import MODELS

from wsss_bench.errors import RecipeError

LIBRARIES = ("torch", "torchvision", "mmengine", "mmcv", "mmseg")
"""Packages whose parts are registered in every process, by `wsss_bench.engine.registry.register`."""

HARNESS = "wsss_bench"

UNSTABLE = "wsss_local_"
"""How names of modules begin that another machine would name otherwise: see `wsss_bench.methods.catalog`."""

_KEY = "custom_imports"

_NOT_REGISTERED = re.compile(r"([\w.]+) is not in the [\w:]* ?\w* ?registry")
"""What mmengine says of a word that nobody registered."""

T = TypeVar("T")


def modules_of(config: Mapping[str, Any]) -> list[str]:
    """Return the names in ``custom_imports``: a list, one name, or mmengine's own form, ``dict(imports=[…])``."""
    given = config.get(_KEY) or ()
    if isinstance(given, Mapping):
        given = given.get("imports") or ()
    return [given] if isinstance(given, str) else [str(name) for name in given]


def import_all(modules: Iterable[str], plugin: Mapping[str, Any] | None = None) -> None:
    """Import the modules that register a network; `plugin` is what a `Segmentor` says of whose it is.

    Raises:
        RecipeError: one is missing; the message names it, and what brings it.
    """
    for name in modules:
        try:
            import_module(name)
        except ImportError as error:
            why = f"which cannot be imported ({error})."
            what = f"the network is made of parts of module {name!r}, {why}"
            raise RecipeError(f"{what} {remedy(plugin)}") from error


def remedy(plugin: Mapping[str, Any] | None) -> str:
    """Return the sentence that says how to bring a missing part of a network back."""
    made = dict(plugin or {})
    if "file" in made:
        whose = f"It belongs to method {made['name']!r}"
        return f"{whose}: give its file, --plugin {made['file']}"
    if "distribution" in made:
        whose = f"It belongs to method {made['name']!r}"
        return f"{whose}: pip install {made['distribution']}"
    return "Install the package that it comes from."


def named_in_full(model: Any, modules: Iterable[str] = ()) -> Any:
    """Return a copy of a model config in which every part that no library brings has its full name.

    Args:
        model: an mmseg model config. A part whose class cannot be found by a full name (it was made inside a
            function, say) keeps the word that it was registered under.
        modules: where to look first: another plugin may have registered a class of its own under the same word.
    """
    preferred = [sys.modules[name] for name in modules if name in sys.modules]

    def full(kind: Any) -> Any:
        for module in preferred:
            own = getattr(module, kind, None) if isinstance(kind, str) else None
            if isinstance(own, type) and own.__module__ == module.__name__:
                return _full_name(own) or kind
        found = _class_of(kind)
        if found is None or _top(found) in LIBRARIES:
            return kind
        return _full_name(found) or kind

    model = copy.deepcopy(model)
    for part in _parts(model):
        part["type"] = full(part["type"])
    return model


def our_own(model: Any) -> Any:
    """Return a copy of one of the harness's configs made of the harness's own parts, whatever a plugin calls so."""
    model = copy.deepcopy(model)
    for part in _parts(model):
        found = _root().module_dict.get(part["type"])
        if found is not None and _top(found) == HARNESS:
            part["type"] = _full_name(found)
    return model


def without_downloads(model: Any) -> Any:
    """Return a copy of a model config without initial weights.

    The checkpoint replaces them, nothing is fetched to predict, and no file of this machine is named.
    """
    model = copy.deepcopy(model)
    # A segmentor's older name for its backbone's weights; the newer classes do not take it any more.
    model.pop("pretrained", None)
    # Ours, and any other backbone that calls them so.
    if "weights" in model.get("backbone", {}):
        model["backbone"]["weights"] = None
    for part in _parts(model):
        _forget_weights(part)
    return model


def _forget_weights(part: dict[str, Any]) -> None:
    """Take every way to name initial weights out of the config of one part."""
    found = _class_of(part["type"])
    # mmseg's wrapper of timm fetches weights unless it is told not to.
    if part.get("pretrained", _default(found, "pretrained")) is True:
        part["pretrained"] = False
    init = part.get("init_cfg")
    if isinstance(init, Mapping) and init.get("type") == "Pretrained":
        part["init_cfg"] = None
    # A plugin's class may mean something else by these words, or need them.
    if found is None or _top(found) not in LIBRARIES:
        return
    if isinstance(part.get("pretrained"), str):
        part["pretrained"] = None
    if part.get("checkpoint_path"):
        part["checkpoint_path"] = ""


def _default(found: Any, name: str) -> Any:
    """Return the default of an argument of a class; None where it has none."""
    try:
        argument = inspect.signature(found).parameters.get(name)
    except (TypeError, ValueError):
        return None
    return None if argument is None else argument.default


def registering(model: Any) -> list[str]:
    """Return the modules, neither a library's nor the harness's, that the parts of a model config come from, sorted."""
    found = set()
    for config in _parts(model):
        part = _class_of(config["type"])
        if part is None or _top(part) in (*LIBRARIES, HARNESS):
            continue
        module = str(part.__module__)
        # A script cannot be imported, and a name that holds a folder's digest is no name elsewhere.
        if module != "__main__" and not module.startswith(UNSTABLE):
            found.add(module)
    return sorted(found)


def bring_back(
    build: Callable[[], T],
    modules: Iterable[str],
    plugin: Mapping[str, Any],
) -> T:
    """Return ``build()``, a kept network, in a process that may know nothing of its parts yet.

    Args:
        build: builds it from its config.
        modules: the names in the config's ``custom_imports``.
        plugin: what the `Segmentor` says of the plugin that made it.

    Raises:
        RecipeError: a part is missing; the message says whose it is and what to install or give.
    """
    wanted = list(modules)
    if wanted:
        _try_import([str(plugin.get("module", ""))])
    import_all(wanted, plugin)
    try:
        return build()
    except RecipeError as error:
        # A head that is named as ``module:attribute``, say.
        if not plugin:
            raise
        raise RecipeError(f"{error} {remedy(plugin)}") from error
    except KeyError as error:
        if _unknown_part(error) is None:
            raise
    # A segmentor that was not put together by `keep_segmentor` does not say what registers its parts, and a part may
    # build others by their words, which no config holds.
    _try_import([str(plugin.get("module", "")), *plugin.get("modules", ())])
    try:
        return build()
    except KeyError as error:
        part = _unknown_part(error)
        if part is None:
            raise
        what = f"the network is made of {part!r}, which no module here registers."
        raise RecipeError(f"{what} {remedy(plugin)}") from error


def _try_import(modules: Iterable[str]) -> None:
    for name in filter(None, modules):
        # Whatever a plugin's module fails with: what is still missing afterwards is told by its own name.
        with suppress(Exception):
            import_module(name)


def _unknown_part(error: KeyError) -> str | None:
    """Return the word that mmengine found in no registry, None for an error of another kind."""
    found = _NOT_REGISTERED.search(str(error))
    return found[1] if found else None


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every config with a ``type`` at or below a node of a model config, outermost first."""
    if isinstance(node, list | tuple):
        for value in node:
            yield from _parts(value)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("type"), str | type):
        yield node
    for value in list(node.values()):
        yield from _parts(value)


def _class_of(kind: Any) -> Any:
    """Return what a ``type`` stands for: a registered class or function, or one by its full name; else None."""
    if not isinstance(kind, str):
        return kind
    place: Any = MODELS
    # Not `get`, which imports a module of that very name where nothing is registered under it.
    while place is not None:
        if kind in place.module_dict:
            return place.module_dict[kind]
        place = place.parent
    module, _, name = kind.rpartition(".")
    if not module:
        return None
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None


def _full_name(found: Any) -> str | None:
    """Return ``module.Class`` where that leads to the class in any process that can import the module, else None."""
    module, name = str(found.__module__), str(found.__qualname__)
    if module == "__main__" or module.startswith(UNSTABLE):
        return None
    known = getattr(sys.modules.get(module), name, None)
    return f"{module}.{name}" if known is found else None


def _top(found: Any) -> str:
    return str(found.__module__).partition(".")[0]


def _root() -> Any:
    """Return mmengine's registry of models, the parent of every other library's."""
    place: Any = MODELS
    while place.parent is not None:
        place = place.parent
    return place
