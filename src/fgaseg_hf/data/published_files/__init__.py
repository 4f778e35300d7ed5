# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Benchmarks as they were published: a module a family, which says where its pictures and label maps lie."""
