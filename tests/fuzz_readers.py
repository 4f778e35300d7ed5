# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Readers of strangers' files under a fuzzer that is led by what of the code each input reaches (atheris).

    pip install atheris
    python tests/fuzz_readers.py --minutes 30 [--readers pictures checkpoints]

An input is answered, or refused by `ValueError`; everything else is written down, once a kind, and the search goes on.
Ends with 1 if there was any.
"""

import argparse
import base64
import contextlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "fgaseg_hf"]):
    import fuzz_doors
    import odd_inputs
    import program_doors
    from PIL import Image

    from fgaseg_hf.data.class_list_files import load_class_groups, load_class_names, load_id_map
    from fgaseg_hf.model.label_map_reading import label_map_to_array
    from fgaseg_hf.model.picture_reading import open_picture
    from fgaseg_hf.model.vocabulary import FGASegVocabulary

FOLDER = Path(tempfile.mkdtemp())


def read_picture(content: bytes) -> None:
    fuzz_doors.read_file(content)


def read_label_map(content: bytes) -> None:
    ids = label_map_to_array(open_picture("data:;base64," + base64.b64encode(content).decode()))
    assert ids.ndim == 2 and ids.size


def read_vocabulary(content: bytes) -> None:
    (FOLDER / "vocabulary.json").write_bytes(content)
    assert FGASegVocabulary.load(FOLDER).labels


def read_class_lists(content: bytes) -> None:
    path = FOLDER / "list.txt"
    path.write_bytes(content)
    for read in (
        lambda: load_class_names(FOLDER, str(path)),
        lambda: load_id_map(str(path)),
        lambda: load_class_groups(str(path)),
    ):
        with contextlib.suppress(ValueError):
            read()


def read_words(content: bytes) -> None:
    (FOLDER / "words.txt").write_bytes(content)
    program_doors.read_word_list(f"@{FOLDER}/words.txt")


def whole_vocabularies() -> list[bytes]:
    description, _, _ = fuzz_doors.description_of_vocabulary()
    return [json.dumps(description | {"encoding": None}).encode()]


READERS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "pictures": (read_picture, odd_inputs.whole_files),
    "label_maps": (read_label_map, odd_inputs.whole_files),
    "checkpoints": (program_doors.read_checkpoint_file, program_doors.whole_checkpoints),
    "vocabularies": (read_vocabulary, whole_vocabularies),
    "class_lists": (read_class_lists, lambda: [b"sky\ncat", b'{"0": 1}', b'{"things": ["cat"]}']),
    "words": (read_words, lambda: [b"sky, cat", b'["sky"]', "\ufeffsky\nStraße".encode()]),
    "cards": (program_doors.describe, lambda: [b"name: a\nlicense: mit\ntags: [b]"]),
}


def main() -> None:
    """Prints how many inputs were answered and refused, a reader a line, and what was neither."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--readers", nargs="+", choices=sorted(READERS), default=list(READERS))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = 10**6
    counts: Counter[tuple[str, str]] = Counter()
    failures: dict[str, str] = {}
    end = time.monotonic() + 60 * arguments.minutes
    names = arguments.readers

    def report() -> None:
        for name in names:
            of_reader = {outcome: number for (reader, outcome), number in counts.items() if reader == name}
            sys.stdout.write(f"{name:14} {sum(of_reader.values()):8}  {of_reader}\n")
        sys.stdout.write(f"{'all':14} {counts.total():8}\n" + "\n".join(failures.values()))
        sys.stdout.flush()
        os._exit(bool(failures))

    def try_one(content: bytes) -> None:
        # The first byte says which reader, the rest is the file.
        name = names[content[0] % len(names)] if content else names[0]
        try:
            READERS[name][0](content[1:])
            outcome = "answered"
        except ValueError:
            outcome = "refused"
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            outcome = f"RAW {type(error).__name__}"
            kind = f"{name} {outcome} {place.filename}:{place.lineno}"
            if kind not in failures:
                failures[kind] = f"{kind}\n{content[1:400]!r}\n{traceback.format_exc(limit=-5)}"
        counts[name, outcome] += 1
        if time.monotonic() > end:
            report()

    corpus = Path(tempfile.mkdtemp())
    for place, name in enumerate(names):
        for number, content in enumerate(READERS[name][1]()):
            (corpus / f"{name}_{number}").write_bytes(bytes([place]) + content)
    options = [f"-seed={arguments.seed}", "-max_len=4096", "-rss_limit_mb=4096", "-timeout=600", "-verbosity=0"]
    # What it keeps of slow inputs goes where the corpus is.
    options += ["-report_slow_units=600", f"-artifact_prefix={corpus}/"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
