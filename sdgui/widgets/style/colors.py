"""The colours of the window, light and dark: surfaces, text, one accent, states and the palette of runs.

Flow: ``theme`` picks one ``Colors`` by the system's scheme; widgets ask the theme, never this module's instances.
The run palette derives from Okabe and Ito (2008), "Color universal design": its hues can be distinguished by people
with colour blindness; the lightness of each is adjusted to 3:1 contrast on its background. The other twelve are, one by
one, the colours of moderate chroma that are furthest in CIELAB from all previous ones, as seen by people with normal
sight, deuteranopia and protanopia.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Colors:
    """A colour scheme; every value is ``#rrggbb``."""

    window: str  # the background
    surface: str  # cards, plots, lists
    raised: str  # buttons, hovered rows
    border: str
    strong_border: str  # border of controls, 3:1 on the surface
    text: str
    muted: str  # secondary text, 4.5:1
    accent: str  # fill behind white text
    accent_text: str  # accent as text or line
    on_accent: str
    selection: str  # background of selected rows
    good: str
    warning: str
    error: str
    warning_fill: str
    error_fill: str
    info_fill: str
    runs: tuple[str, ...]  # `sdgui.store.records.HUE_COUNT` colours, in the order of assignment


LIGHT = Colors(
    window="#f4f5f7",
    surface="#ffffff",
    raised="#eceef1",
    border="#dadee3",
    strong_border="#848d97",
    text="#1b1f24",
    muted="#59636e",
    accent="#1a66d0",
    accent_text="#1a5fc4",
    on_accent="#ffffff",
    selection="#d6e6fb",
    good="#0a7b57",
    warning="#8f5700",
    error="#c22f1f",
    warning_fill="#fdf1d9",
    error_fill="#fde8e5",
    info_fill="#e3eefc",
    runs=(
        "#0c59a1",
        "#cd6200",
        "#05a67d",
        "#b4508d",
        "#654c01",
        "#3c97d3",
        "#875144",
        "#454b54",
        "#3060e4",
        "#3c0084",
        "#481854",
        "#00300c",
        "#2490fc",
        "#6c9048",
        "#840084",
        "#009cb4",
        "#f05448",
        "#b40060",
        "#fc3c78",
        "#600030",
    ),
)

DARK = Colors(
    window="#15181c",
    surface="#1c2025",
    raised="#282d34",
    border="#31373f",
    strong_border="#6e7781",
    text="#e3e7ec",
    muted="#9ba5b0",
    accent="#2b72dc",
    accent_text="#76b1ff",
    on_accent="#ffffff",
    selection="#22406b",
    good="#3ecf9d",
    warning="#f0b13c",
    error="#ff8474",
    warning_fill="#372c14",
    error_fill="#3d1f1c",
    info_fill="#1b2d47",
    runs=(
        "#3d9be0",
        "#f5803a",
        "#3fb58a",
        "#dc82b9",
        "#f5bd1a",
        "#97d2fb",
        "#8d6a48",
        "#d8dee4",
        "#00fc9c",
        "#7854d8",
        "#c030a8",
        "#487878",
        "#a8f06c",
        "#9c6000",
        "#3cc048",
        "#b4e4c0",
        "#6c90fc",
        "#84b46c",
        "#e42448",
        "#c03c6c",
    ),
)
