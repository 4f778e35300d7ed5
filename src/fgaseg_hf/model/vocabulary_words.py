# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The words of a vocabulary: which stand for the same, which clash, and how each was spelled first."""

from collections.abc import Iterable, Mapping
from typing import Literal

from .text_encoding import normalise_phrase

Repetition = Literal["refuse", "merge"]


def assign_synonyms(
    names: list[str], synonyms: Mapping[str, Iterable[str]], repeated: Repetition
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
    for name, words in synonyms.items():
        known_name = spelling.get(normalise_phrase(name))
        if known_name is None:
            raise ValueError(f"`synonyms` has {name!r}, which is none of the `names`: add it there.")
        assigned[known_name] += as_list(words, f"`synonyms` of {name!r}")
    name_of: dict[str, str] = {}
    for name in names:
        phrases = distinct_phrases([name, *assigned[name]], f"the name {name!r} and its synonyms", repeated)
        assigned[name] = phrases[1:]
        for phrase in phrases:
            other = name_of.setdefault(normalise_phrase(phrase), name)
            if other != name:
                raise ValueError(f"{phrase!r} stands for both {other!r} and {name!r}: leave it out of one of them.")
    return assigned


def assign_groups(
    names: list[str], groups: Mapping[str, Iterable[str]], repeated: Repetition
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
    for group, members in groups.items():
        (group_name,) = distinct_phrases([group], "the names of `groups`", repeated)
        assigned[group_name] = []
        for member in distinct_phrases(members, f"the group {group!r}", repeated):
            known_name = spelling.get(normalise_phrase(member))
            if known_name is None:
                raise ValueError(f"The group {group!r} has {member!r}, which is none of the `names`: add it there.")
            if known_name in group_of:
                raise ValueError(f"{member!r} is in the groups {group_of[known_name]!r} and {group!r}: choose one.")
            group_of[known_name] = group_name
            assigned[group_name].append(known_name)
    label_spelling: dict[str, str] = {}
    for label in [*assigned, *(name for name in names if name not in group_of)]:
        if normalise_phrase(label) in label_spelling:
            raise ValueError(f"The group {label!r} has the name of another label: rename it.")
        label_spelling[normalise_phrase(label)] = label
    return assigned, label_spelling


def as_list(values: Iterable[str], what: str) -> list[str]:
    """Refuses a bare string, whose letters would otherwise be taken for the values."""
    if isinstance(values, str | Mapping):
        raise ValueError(f"{values!r} stands for {what}: give a list of strings.")
    return list(values)


def distinct_phrases(phrases: Iterable[str], what: str, repeated: Repetition) -> list[str]:
    """Checks phrases and strips the blanks around them; of repeated ones the first is kept, if they are to be merged.

    Raises:
        ValueError: There is none; or one is no string, blank, or given twice.
    """
    distinct: dict[str, str] = {}
    for phrase in as_list(phrases, what):
        if not isinstance(phrase, str) or not phrase.strip():
            raise ValueError(f"There is {phrase!r} among {what}: give strings with at least one word.")
        if normalise_phrase(phrase) in distinct and repeated == "refuse":
            raise ValueError(f"{phrase!r} is twice among {what}: leave one out, or set `repeated_names` to 'merge'.")
        distinct.setdefault(normalise_phrase(phrase), phrase.strip())
    if not distinct:
        raise ValueError(f"There is nothing among {what}: give at least one word.")
    return list(distinct.values())
