"""Target profiles: presets, and TOML files of users."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from openbpu.errors import ConfigError
from openbpu.ir.profile import PROFILES, TargetProfile, profile

MARCHES = ("nash-b-lite", "nash-b", "nash-b-plus", "nash-e", "nash-m", "nash-h", "nash-p", "nash-starry-p")


def test_presets() -> None:
    assert set(PROFILES) == set(MARCHES)
    for name, preset in PROFILES.items():
        assert preset.name == name and preset.preset
        assert TargetProfile.from_dict(preset.to_dict()) == preset
        for parameter in fields(TargetProfile)[1:]:
            least, most = parameter.metadata["least"], parameter.metadata["most"]
            assert least <= getattr(preset, parameter.name) <= most, (name, parameter.name)
    assert PROFILES["nash-p"].cores == 4 and PROFILES["nash-h"].cores == 3 and PROFILES["nash-e"].cores == 1


def test_a_file_changes_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "nash-e"\nsram_bytes = 1048576\nclock_hz = 1e9\n')
    mine = profile(str(path))
    assert (mine.name, mine.sram_bytes, mine.clock_hz) == ("mine", 1 << 20, 1e9)
    assert mine.mac_pixels == PROFILES["nash-e"].mac_pixels and not mine.preset


@pytest.mark.parametrize(
    "text,message",
    [
        ("x =", "must be TOML"),
        ('base = "nash-e"\nsram_byte = 1', "did you mean sram_bytes"),
        ('base = "nash-e"\nsram_bytes = 1', "65536"),
        ('base = "nash-e"\nsram_bytes = 1e6', "whole number"),
        ('base = "nash-e"\nclock_hz = true', "must be a number"),
        ('base = "nash-e"\nclock_hz = nan', "must be a number"),
        ('base = "nash-e"\nname = ""', "1 to 64"),
        ('name = "nash-m"\nbase = "nash-e"', "name of a preset"),
        ('base = "nash-z"', "nash-b-lite"),
        ('base = ["nash-e"]', "nash-b-lite"),
        ('base = "nash-e"\nname = [1]', "1 to 64"),
        ('base = "nash-e"\nname = "a\\nb"', "1 to 64"),
        ("clock_hz = 1e9", "must be given"),
        ('base = "nash-e"\nclock_hz = inf', "a number beyond 1e300"),
        ('base = "nash-e"\nsram_bytes = 1' + "0" * 400, "a number beyond 1e300"),
        ("clock_hz = 1" + "0" * 5000, "must be TOML"),
        ("x = " + "[" * 5000, "must be TOML"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"(?i)" + message) as error:
        profile(str(path))
    assert "mine.toml" in str(error.value)


def test_an_unknown_march_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="nash-starry-p"):
        profile("nash-z")
    with pytest.raises(ConfigError, match="readable"):
        profile("nowhere/mine.toml")


def test_the_page_has_every_parameter_and_preset() -> None:
    page = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text()
    for parameter in fields(TargetProfile)[1:]:
        meta = parameter.metadata
        default = "" if parameter.default is MISSING else f"{parameter.default:g}"
        kind = "whole" if parameter.type == "int" else "number"
        span = f"{meta['least']:g} to {meta['most']:g}"
        row = f"| `{parameter.name}` | {kind} | {meta['unit']} | {span} | {default} | {meta['doc']} |"
        assert row in page, f"docs/profiles.md lacks: {row}"
    for p in PROFILES.values():
        tops = 2 * p.macs_per_second / 1e12
        array = f"{p.mac_rows} × {p.mac_columns} × {p.mac_pixels}"  # noqa: RUF001
        row = f"| {p.name} | {array} | {p.clock_hz / 1e9:.2f} | {tops:.1f} | {p.cores} | {p.sram_bytes >> 20} "
        assert f"{row}| {p.ddr_bytes_per_second / 1e9:.1f} |" in page, row


def test_the_example_of_the_page_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(page.split("```toml\n")[1].split("```")[0])
    assert profile(str(path)).sram_bytes == 2 << 20
