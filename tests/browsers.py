# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A real browser for tests of pages: the system's Chromium, driven by Playwright; tests skip where one is missing."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

# Nothing that looks for hosts outside; a sandbox of its own is not to be had in every container.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@contextmanager
def opened_browser() -> Iterator[Any]:
    """A Chromium that is closed at the end; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


def contrast_faults(page: Any) -> list[str]:
    """Texts that stand out from their ground by less than 4.5 to 1 (WCAG 2, AA), large ones by less than 3."""
    return list(
        page.evaluate(
            """() => {
              const channels = (text) => {
                const [red, green, blue, alpha = 1] = text.match(/[\\d.]+/g).map(Number);
                return { rgb: [red, green, blue], alpha };
              };
              const luminance = (rgb) => {
                const [red, green, blue] = rgb.map((part) => {
                  const share = part / 255;
                  return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
              };
              const ground = (element) => {
                for (let at = element; at; at = at.parentElement) {
                  const { rgb, alpha } = channels(getComputedStyle(at).backgroundColor);
                  if (alpha > 0.5) return rgb;
                }
                return [255, 255, 255];
              };
              const faults = [];
              for (const element of document.querySelectorAll("body *")) {
                const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
                if (!own || !element.checkVisibility() || element.disabled || element.closest("[disabled]")) continue;
                const style = getComputedStyle(element);
                const [text, back] = [channels(style.color).rgb, ground(element)].map(luminance);
                const ratio = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
                const isLarge = parseFloat(style.fontSize) >= 24;
                const shown = element.textContent.trim().slice(0, 40);
                if (ratio < (isLarge ? 3 : 4.5)) faults.push(`${shown}: ${ratio.toFixed(2)}`);
              }
              return faults;
            }"""
        )
    )


def unlabelled_controls(page: Any) -> list[str]:
    """Controls of a page that a screen reader has no name for."""
    return list(
        page.evaluate(
            """() => [...document.querySelectorAll("input, textarea, select, button, canvas")]
              .filter((element) => element.checkVisibility() && element.type !== "hidden")
              .filter((element) => !(
                element.labels?.length || element.getAttribute("aria-label") || element.getAttribute("aria-labelledby")
                || element.title || element.textContent.trim()
              ))
              .map((element) => element.outerHTML.slice(0, 120))"""
        )
    )
