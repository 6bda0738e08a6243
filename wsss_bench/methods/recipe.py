"""Recipes: ``vwe/irn/deeplab[lr=0.01]`` and the three picks it stands for.

Grammar::

    methods = recipe *("," recipe)             recipe = slot | slot "/" slot "/" slot
    slot    = name ["[" param *("," param) "]"]   param = key "=" value, key = [stage "."] name *("." name)

A bare name stands for the recipe on its method card. ``_`` is the method's own stage or the default, ``-`` leaves a
stage out: ``-/a/b`` needs no seeds, ``a/b/-`` ends at pseudo-labels, ``a/-/-`` at seeds. Values are Python literals;
what is none is a string.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wsss_bench.contract.names import STAGES
from wsss_bench.errors import RecipeError

DEFAULTS = {"localize": "cam", "refine": "threshold", "segment": "deeplab"}
OWN, NONE = "_", "-"
WORDS = {OWN: "own", NONE: "none"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*|_|-")
_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# Texts that need no quotes between brackets: nothing in them could be taken for a separator.
_BARE = re.compile(r"[A-Za-z_./~][\w./~:@+-]*")

Params = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Slot:
    """One place of a recipe: a method's name, ``_`` or ``-``, and the parameters in its brackets."""

    name: str
    params: Params = ()

    def __str__(self) -> str:
        inside = ",".join(f"{key}={format_value(value)}" for key, value in self.params)
        return f"{self.name}[{inside}]" if inside else self.name


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe: one slot (a bare name) or three; ``parse_recipe(str(recipe)) == recipe``."""

    slots: tuple[Slot, ...]

    def __str__(self) -> str:
        return "/".join(map(str, self.slots))

    @property
    def slug(self) -> str:
        """A name for files: the picks, and eight hex digits of the parameters if there are any."""
        first, *rest = (slot.name for slot in self.slots)
        # No name of a file or run may begin with either sign.
        first = WORDS.get(first, first)
        names = "+".join([first, *rest])
        if not any(slot.params for slot in self.slots):
            return names
        # Parameters may hold any sign and be of any length; a file's name may not.
        digest = hashlib.sha256(str(self).encode()).hexdigest()
        return f"{names}-{digest[:8]}"


@dataclass(frozen=True)
class Picks:
    """What a recipe stands for.

    Attributes:
        recipe: the recipe as given.
        names: method name by stage; no entry for a stage that is left out.
        params: parameters given in brackets that are bound to a stage, by stage.
        defaults: parameters in the brackets of the card's own recipe, by stage; they are no more the user's than the
            card's other defaults.
        free: parameters of a bare name that name no stage; `wsss_bench.methods.params` binds them.
        owner: the method whose name `_` stood for.
    """

    recipe: Recipe
    names: dict[str, str]
    params: dict[str, dict[str, Any]]
    owner: str
    free: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict)


def split_outside(text: str, separator: str) -> list[str]:
    """Split `text` at `separator` outside brackets and quotes.

    Raises:
        RecipeError: a bracket or a quote is not closed, or closed without being open.
    """
    parts: list[str] = []
    depth: list[str] = []
    quote, escaped, start = "", False, 0
    pairs = {"]": "[", ")": "(", "}": "{"}
    for position, char in enumerate(text):
        if quote:
            closes = char == quote and not escaped
            # A backslash after a backslash escapes nothing.
            escaped = char == "\\" and not escaped
            quote = "" if closes else quote
        elif char in "'\"":
            quote, escaped = char, False
        elif char in "[({":
            depth.append(char)
        elif char in pairs:
            if not depth or depth.pop() != pairs[char]:
                where = f"{char!r} at position {position}"
                raise RecipeError(f"{text!r}: {where} closes nothing.")
        elif char == separator and not depth:
            parts.append(text[start:position])
            start = position + 1
    if depth or quote:
        raise RecipeError(f"{text!r}: {quote or depth[-1]!r} is not closed.")
    return [*parts, text[start:]]


def parse_methods(text: str) -> list[Recipe]:
    """Parse the comma-separated list of ``--methods``; raises `RecipeError` for an empty or repeated recipe."""
    recipes = [parse_recipe(part) for part in split_outside(text, ",")]
    for index, recipe in enumerate(recipes):
        # The second would find every stage in the store and look like a repetition that it is not.
        if recipe in recipes[:index]:
            fix = "Name it once; use --seeds 0,1 to repeat it."
            raise RecipeError(f"recipe {str(recipe)!r} is listed twice. {fix}")
    return recipes


def parse_recipe(text: str) -> Recipe:
    """Parse one recipe; raises `RecipeError` that says which part cannot be understood."""
    parts = split_outside(text.strip(), "/")
    if len(parts) not in (1, len(STAGES)):
        fix = "Write one name, or localize/refine/segment; '_' takes the default."
        raise RecipeError(f"recipe {text!r} has {len(parts)} slots. {fix}")
    recipe = Recipe(tuple(_parse_slot(part.strip(), text) for part in parts))
    names = [slot.name for slot in recipe.slots]
    if all(name in (OWN, NONE) for name in names):
        raise RecipeError(f"recipe {text!r} names no method.")
    if len(names) > 1 and names[1] == NONE != names[2]:
        what = "a segment stage needs the labels of a refine stage."
        fix = "Write '_' for the default one, or '-' in both slots."
        raise RecipeError(f"recipe {text!r}: {what} {fix}")
    return recipe


def _parse_slot(text: str, recipe: str) -> Slot:
    where = f"recipe {recipe!r}"
    match = _NAME.match(text)
    if match is None:
        allowed = "Names consist of letters, digits, '-' and '_'."
        raise RecipeError(f"{where}: {text!r} is no method name. {allowed}")
    name, rest = match.group(), text[match.end() :]
    if not rest:
        return Slot(name)
    if not (rest.startswith("[") and rest.endswith("]")):
        fix = f"Parameters are written {name}[key=value,key=value]."
        raise RecipeError(f"{where}: cannot read {rest!r} after {name!r}. {fix}")
    if name == NONE:
        raise RecipeError(f"{where}: a stage that is left out takes no parameters.")
    return Slot(name, _parse_params(rest[1:-1], where))


def _parse_params(text: str, where: str) -> Params:
    params: dict[str, Any] = {}
    for part in split_outside(text, ","):
        key, value = parse_assignment(part, where)
        if key in params:
            raise RecipeError(f"{where}: parameter {key!r} is given twice.")
        params[key] = value
    return tuple(params.items())


def parse_assignment(text: str, where: str) -> tuple[str, Any]:
    """Parse ``key=value``; raises `RecipeError` beginning with `where`."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not _KEY.fullmatch(key):
        fix = "Parameters are written key=value."
        raise RecipeError(f"{where}: cannot read {text.strip()!r}. {fix}")
    return key, parse_value(value)


def parse_value(text: str) -> Any:
    """Return a Python literal where `text` is one, else `text` itself, stripped."""
    text = text.strip()
    try:
        return ast.literal_eval(text)
    # The last two: thousands of nested brackets, which the parser gives up on.
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def format_value(value: Any) -> str:
    """Return the text that `parse_value` reads back as `value`."""
    if not isinstance(value, str) or not _BARE.fullmatch(value):
        return repr(value)
    # A text such as "True" would be read back as something else.
    return value if parse_value(value) == value else repr(value)


def expand(
    recipe: Recipe,
    implements: Callable[[str], tuple[str, ...]],
    card_recipe: Callable[[str], str],
) -> Picks:
    """Resolve bare names, ``_`` and ``-``.

    Args:
        recipe: a parsed recipe.
        implements: the stages a method implements; raises `RecipeError` for an unknown name.
        card_recipe: the recipe on a method's card.

    Raises:
        RecipeError: an unknown method, or a method picked for a stage that it does not implement.
    """
    # The first that is named; a recipe with none was refused when it was parsed.
    slots = recipe.slots
    named = [slot.name for slot in slots if slot.name not in WORDS]
    owner = named[0]
    bare = len(slots) == 1
    if bare:
        slots = parse_card_recipe(card_recipe(owner), owner).slots
    where = f"recipe {str(recipe)!r}"
    names: dict[str, str] = {}
    inside: dict[str, dict[str, Any]] = {}
    for stage, slot in zip(STAGES, slots, strict=True):
        if slot.name != NONE:
            names[stage] = _pick(slot.name, stage, owner, implements, where)
            inside[stage] = _in_brackets(slot, stage, where)
    if not bare:
        params = {stage: inside.get(stage, {}) for stage in STAGES}
        return Picks(recipe, names, params, owner)
    params, free = _by_stage(recipe.slots[0].params)
    for stage in STAGES:
        if params[stage] and stage not in names:
            what = f"parameters for {stage}, which this recipe leaves out."
            raise RecipeError(f"{where}: {what}")
    # The slots are the card's, so what stands in their brackets is no wish of the user's.
    defaults = {stage: values for stage, values in inside.items() if values}
    return Picks(recipe, names, params, owner, free, defaults)


def _pick(
    name: str,
    stage: str,
    owner: str,
    implements: Callable[[str], tuple[str, ...]],
    where: str,
) -> str:
    """Return the method that a slot stands for; raises `RecipeError` where that has no such stage."""
    if name == OWN:
        name = owner if stage in implements(owner) else DEFAULTS[stage]
    stages = implements(name)
    if stage not in stages:
        what = f"method {name!r} has no {stage} stage (it has {', '.join(stages)})."
        raise RecipeError(f"{where}: {what} Use '_' for the default.")
    return name


def _in_brackets(
    slot: Slot,
    stage: str,
    where: str,
) -> dict[str, Any]:
    found = {}
    for key, value in slot.params:
        prefix, rest = _split_stage(key)
        if prefix not in ("", stage):
            what = f"{key!r} stands in the brackets of the {stage} slot."
            raise RecipeError(f"{where}: {what}")
        found[rest] = value
    return found


def _by_stage(
    params: Params,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return a bare name's parameters by stage, and those that name no stage."""
    bound: dict[str, dict[str, Any]] = {stage: {} for stage in STAGES}
    free: dict[str, Any] = {}
    for key, value in params:
        stage, rest = _split_stage(key)
        place = bound[stage] if stage else free
        place[rest] = value
    return bound, free


def _split_stage(key: str) -> tuple[str, str]:
    """Return ``("segment", "lr")`` for ``segment.lr``, ``("", "lr")`` for ``lr``."""
    stage, dot, rest = key.partition(".")
    return (stage, rest) if dot and stage in STAGES else ("", key)


def parse_card_recipe(text: str, method: str) -> Recipe:
    """Parse the recipe of a method card, in which all slots may be ``_``."""
    parts = split_outside(text, "/")
    where = f"method card {method!r}: recipe {text!r}"
    if len(parts) != len(STAGES):
        raise RecipeError(f"{where} must have three slots.")
    slots = tuple(_parse_slot(part.strip(), text) for part in parts)
    # A method's bare name must give a segmentation, or it could not stand on a board.
    if any(slot.name == NONE for slot in slots[1:]):
        raise RecipeError(f"{where} may leave out the localize stage only.")
    return Recipe(slots)
