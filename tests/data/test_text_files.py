# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Text files in the encodings in which people save them."""

from pathlib import Path

import pytest

from fgaseg_hf.data.class_list_files import load_class_groups, load_class_names, load_id_map, load_prompts
from fgaseg_hf.data.text_files import read_json_file, read_text_file


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "class_names.txt"
    path.write_bytes("sky\r\nStraße\r\n".encode("utf-8-sig"))
    assert load_class_names(str(tmp_path)) == load_prompts(str(path)) == ["sky", "Straße"]
    path.write_bytes('{"0": 1}'.encode("utf-8-sig"))
    assert load_id_map(str(path)) == {0: 1}
    path.write_bytes('{"seen": ["sky"]}'.encode("utf-8-sig"))
    assert load_class_groups(str(path)) == {"seen": ["sky"]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_other_encodings_get_one_sentence_with_the_name(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "class_names.txt"
    path.write_bytes('{"sky": "Straße"}\n'.encode(encoding))
    for read in (load_class_names, load_prompts, load_id_map, load_class_groups):
        with pytest.raises(ValueError, match=r"class_names\.txt.*UTF-8") as error:
            read(str(tmp_path if read is load_class_names else path))  # type: ignore[operator]
        assert "\n" not in str(error.value)


def test_missing_files_and_broken_json_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no id map at .*nowhere"):
        read_text_file(tmp_path / "nowhere", "id map")
    path = tmp_path / "ids.json"
    path.write_text('{"0": 1,\n')
    with pytest.raises(ValueError, match=r"ids\.json' is no JSON \(line 2"):
        read_json_file(path, "id map")
    path.write_text("[" * 200_000)
    with pytest.raises(ValueError, match=r"ids\.json' is (nested too deep|no JSON)"):
        read_json_file(path, "id map")
