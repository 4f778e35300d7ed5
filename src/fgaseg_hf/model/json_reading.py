# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""JSON of strangers: whatever is wrong with it is one kind of error."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Reads JSON.

    Raises:
        ValueError: It is none, or nested deeper than this program reads.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
