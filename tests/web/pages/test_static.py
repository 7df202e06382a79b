"""What browsers are given beside the pages: unaltered files of others, and nothing that needs another host."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import distributor.web

ROOM = Path(distributor.web.__file__).parent
TEMPLATES = sorted((ROOM / "templates").glob("*.html"))
STYLES = sorted((ROOM / "static").glob("*.css"))


def test_files_of_others_are_what_their_table_says() -> None:
    vendor = ROOM / "static" / "vendor"
    told = dict(re.findall(r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", (vendor / "README.md").read_text(), re.M))
    assert told == {path.name: sha256(path.read_bytes()).hexdigest() for path in vendor.glob("*.js")}
    base = (ROOM / "templates" / "base.html").read_text()
    assert all(f"/static/vendor/{name}" in base for name in told)


def test_templates_have_no_style_or_script_of_their_own_and_name_no_other_host() -> None:
    for path in TEMPLATES:
        text = path.read_text()
        assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:|hx-on|https?://", text), path.name
        assert not re.search(r"<script(?![^>]*\ssrc=\"/static/)", text), path.name
        assert "|safe" not in text.replace(" ", ""), path.name


def test_every_form_that_writes_carries_the_token_of_its_login() -> None:
    for path in TEMPLATES:
        for form in re.findall(r"<form\b[^>]*method=\"post\"[^>]*>(.*?)</form>", path.read_text(), re.S):
            assert "csrf_field" in form or path.name == "login.html", f"{path.name}: {form}"


def test_style_sheets_are_of_reasonable_length_and_name_no_other_host() -> None:
    assert STYLES
    for path in STYLES:
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path.name
        assert "url(" not in text
        assert "@import" not in text


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    text = colour.lstrip("#")
    text = text if len(text) == 6 else "".join(sign * 2 for sign in text)
    parts = [int(text[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TEXT_ON_BED = (
    *((ink, bed) for ink in ("ink", "quiet") for bed in ("page", "surface", "raised")),
    *((name, "surface") for name in ("accent", "good", "late", "bad", "moving")),
    *((name, f"{name}-bed") for name in ("good", "late", "bad")),
    *(("ink", bed) for bed in ("good-bed", "late-bed", "bad-bed")),
    *(("quiet", bed) for bed in ("late-bed", "good-bed", "bad-bed")),
    ("accent", "page"),
    ("accent", "raised"),
    ("on-accent", "accent"),
    *(("surface", piece) for piece in ("accent", "good", "late", "bad", "quiet", "fetched", "rebuilt")),
)


def test_every_text_can_be_read_on_its_bed_in_the_light_and_in_the_dark() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", (ROOM / "static" / "base.css").read_text(), re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", light))
    for scheme in (colours, colours | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", dark))):
        poor = {
            (text, bed): round(contrast(scheme[text], scheme[bed]), 2)
            for text, bed in TEXT_ON_BED
            if contrast(scheme[text], scheme[bed]) < 4.5
        }
        assert not poor
