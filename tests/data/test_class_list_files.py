# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The files beside a data set: class names and id maps."""

from pathlib import Path

import pytest

from fgaseg_hf.data.class_list_files import load_class_groups, load_class_names, load_id_map


def test_class_names_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--class_names"):
        load_class_names(str(tmp_path))
    path = tmp_path / "class_names.txt"
    path.write_text("sky\nroad, street\n\n")
    assert load_class_names(str(tmp_path)) == ["sky", "road, street"]
    assert load_class_names("somewhere/else", str(path)) == ["sky", "road, street"]
    path.write_text("sky\n\nroad")
    with pytest.raises(ValueError, match=r"empty line \(line 2\)"):
        load_class_names(str(tmp_path))
    path.write_text("sky\nsky")
    with pytest.raises(ValueError, match="'sky' twice"):
        load_class_names(str(tmp_path))
    path.write_text("Sky\nroad\n sky")
    with pytest.raises(ValueError, match="'Sky' and 'sky', which are one to the model"):
        load_class_names(str(tmp_path))


def test_id_map_file(tmp_path: Path) -> None:
    path = tmp_path / "ids.json"
    path.write_text('{"7": 0}')
    assert load_id_map(str(path)) == {7: 0}
    assert load_id_map(None) is None
    assert load_id_map(' {"0": 0, "255": 1}') == {0: 0, 255: 1}
    for wrong in ('{"seven": 0}', '{"7": "0"}', '{"7": true}', '{"7": 0.5}', '{"7": 0, "07": 1}'):
        with pytest.raises(ValueError, match="The id map"):
            load_id_map(wrong)
    with pytest.raises(ValueError, match="no id map at"):
        load_id_map(str(tmp_path / "nowhere.json"))
    path.write_text("[7]")
    with pytest.raises(ValueError, match="JSON object"):
        load_id_map(str(path))


def test_class_groups_file(tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    path.write_text('{"seen": ["sky"]}')
    assert load_class_groups(str(path)) == {"seen": ["sky"]}
    path.write_text('["sky"]')
    with pytest.raises(ValueError, match="lists of class names"):
        load_class_groups(str(path))
    with pytest.raises(ValueError, match="no file of class groups at"):
        load_class_groups(str(tmp_path / "nowhere.json"))
