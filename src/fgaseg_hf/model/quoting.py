# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a message repeats of its input: enough to know it again, and never more than a line of it."""

import re
from typing import Any

MAX_QUOTED_CHARACTERS = 100
MAX_REASON_CHARACTERS = 160


def quote(value: Any) -> str:
    """Shows a value as Python would write it, cut in its middle to `MAX_QUOTED_CHARACTERS`.

    Control characters and lone surrogates come out as escapes, so that the message can be printed anywhere.
    """
    if isinstance(value, str) and len(value) > 2 * MAX_QUOTED_CHARACTERS:
        # Its ends are all that is shown, and a picture in base64 has a million characters.
        value = value[:MAX_QUOTED_CHARACTERS] + value[-MAX_QUOTED_CHARACTERS:]
    shown = repr(value)
    if len(shown) > MAX_QUOTED_CHARACTERS:
        half = (MAX_QUOTED_CHARACTERS - 3) // 2
        shown = f"{shown[:half]}...{shown[-half:]}"
    return shown


def reason_of(error: BaseException) -> str:
    """Says in part of a sentence what an error complains about, without the input that it may repeat."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.rstrip(".")
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    # What Pillow and others quote of their input, the sentence around this already names.
    first_line = re.sub(r"<[^<>]*object at 0x[0-9a-f]+>", "it", first_line)
    if len(first_line) > MAX_REASON_CHARACTERS:
        first_line = f"{first_line[: MAX_REASON_CHARACTERS - 3]}..."
    return first_line.encode("utf-8", "backslashreplace").decode()
