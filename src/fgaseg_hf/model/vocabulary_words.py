# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The words of a vocabulary: which stand for the same, which clash, and how each was spelled first."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from .phrases import check_phrase, normalise_phrase
from .quoting import quote

Repetition = Literal["refuse", "merge"]


def assign_synonyms(
    names: list[str], synonyms: Mapping[str, Iterable[str]] | None, repeated: Repetition
) -> dict[str, list[str]]:
    """Gives each name its synonyms.

    Args:
        names: Distinct names.
        synonyms: Further words for some of them, however these are spelled.
        repeated: See [`distinct_phrases`].

    Returns:
        For each name, in the names' order and spelling, its synonyms without itself.

    Raises:
        ValueError: There is no such name, a synonym is no phrase, or it stands for two names.
    """
    spelling = {normalise_phrase(name): name for name in names}
    assigned: dict[str, list[str]] = {name: [] for name in names}
    for name, words in _as_mapping(synonyms, "`synonyms`").items():
        known_name = spelling.get(normalise_phrase(name))
        if known_name is None:
            raise ValueError(f"`synonyms` has {quote(name)}, which is none of the `names`: add it there.")
        assigned[known_name] += as_list(words, f"`synonyms` of {quote(name)}")
    name_of: dict[str, str] = {}
    for name in names:
        phrases = distinct_phrases([name, *assigned[name]], f"the name {quote(name)} and its synonyms", repeated)
        assigned[name] = phrases[1:]
        for phrase in phrases:
            other = name_of.setdefault(normalise_phrase(phrase), name)
            if other != name:
                raise ValueError(
                    f"{quote(phrase)} stands for both {quote(other)} and {quote(name)}: leave it out of one of them."
                )
    return assigned


def assign_groups(
    names: list[str], groups: Mapping[str, Iterable[str]] | None, repeated: Repetition
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Gives each group its names.

    Args:
        names: Distinct names.
        groups: The names that are answered as one, however these are spelled.
        repeated: See [`distinct_phrases`].

    Returns:
        The groups with their names in the names' spelling; and the spelling of each label, by its normalised form.

    Raises:
        ValueError: A group has no name, a word that is none of the names, or a name of another group; or it is called
            like another label.
    """
    spelling = {normalise_phrase(name): name for name in names}
    assigned: dict[str, list[str]] = {}
    group_of: dict[str, str] = {}
    for group, members in _as_mapping(groups, "`groups`").items():
        (group_name,) = distinct_phrases([group], "the names of `groups`", repeated)
        assigned[group_name] = []
        for member in distinct_phrases(members, f"the group {quote(group)}", repeated):
            known_name = spelling.get(normalise_phrase(member))
            if known_name is None:
                raise ValueError(
                    f"The group {quote(group)} has {quote(member)}, which is none of the `names`: add it there."
                )
            if known_name in group_of:
                raise ValueError(
                    f"{quote(member)} is in the groups {quote(group_of[known_name])} and {quote(group)}: choose one."
                )
            group_of[known_name] = group_name
            assigned[group_name].append(known_name)
    label_spelling: dict[str, str] = {}
    for label in [*assigned, *(name for name in names if name not in group_of)]:
        if normalise_phrase(label) in label_spelling:
            raise ValueError(f"The group {quote(label)} has the name of another label: rename it.")
        label_spelling[normalise_phrase(label)] = label
    return assigned, label_spelling


def as_list(values: Iterable[str], what: str) -> list[str]:
    """Refuses a bare string, whose letters would otherwise be taken for the values."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"{quote(values)} stands for {what}: give a list of strings.")
    return list(values)


def _as_mapping(values: Any, what: str) -> Mapping[str, Iterable[str]]:
    """Refuses what has no keys; `None` is none."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ValueError(f"{quote(values)} stands for {what}: give a dictionary of lists of strings.")
    for key in values:
        check_phrase(key, f"A key of {what}")
    return values


def distinct_phrases(phrases: Iterable[str], what: str, repeated: Repetition) -> list[str]:
    """Checks phrases and strips the blanks around them; of repeated ones the first is kept, if they are to be merged.

    Raises:
        ValueError: There is none; or one is no string, blank, or given twice.
    """
    distinct: dict[str, str] = {}
    for phrase in as_list(phrases, what):
        check_phrase(phrase, f"One of {what}")
        if normalise_phrase(phrase) in distinct and repeated == "refuse":
            raise ValueError(
                f"{quote(phrase)} is twice among {what}: leave one out, or set `repeated_names` to 'merge'."
            )
        distinct.setdefault(normalise_phrase(phrase), phrase.strip())
    if not distinct:
        raise ValueError(f"There is nothing among {what}: give at least one word.")
    return list(distinct.values())
