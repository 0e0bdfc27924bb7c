"""The table of panels: one row each, in the order of the rail."""

from __future__ import annotations

from sdgui.shared.menus import RUN_MENU, STUDY_MENU
from sdgui.shared.panel import PanelSpec
from sdgui.widgets.actions import MenuItem, Section

PANELS = (
    PanelSpec(
        "define",
        "Define",
        "ph.sliders-horizontal",
        "Ctrl+1",
        "Define an experiment: data, model, teacher, objectives",
        "sdgui.panels.define.panel",
        "DefinePanel",
    ),
    PanelSpec(
        "watch",
        "Watch",
        "ph.chart-line",
        "Ctrl+2",
        "Watch the runs: curves, events, samples",
        "sdgui.panels.watch.panel",
        "WatchPanel",
        (MenuItem(RUN_MENU, Section.OPEN),),
    ),
    PanelSpec(
        "classify",
        "Classify",
        "ph.chart-bar",
        "Ctrl+3",
        "Classify labelled pictures: accuracy, confusion, mistakes, probes; try your own pictures",
        "sdgui.panels.classify.panel",
        "ClassifyPanel",
    ),
    PanelSpec(
        "search",
        "Search",
        "ph.image-square",
        "Ctrl+4",
        "Search pictures by words, words by pictures, with one model or two side by side",
        "sdgui.panels.search.panel",
        "SearchPanel",
        (MenuItem(RUN_MENU, Section.OPEN),),
    ),
    PanelSpec(
        "caption",
        "Caption",
        "ph.closed-captioning",
        "Ctrl+5",
        "Caption pictures; edit, compare and export the captions, or train on them",
        "sdgui.panels.caption.panel",
        "CaptionsPanel",
    ),
    PanelSpec(
        "noise",
        "Noise",
        "ph.question",
        "Ctrl+6",
        "Likely mislabelled pairs: mark them, exclude them, save cleaned data",
        "sdgui.panels.noise.panel",
        "NoisePanel",
    ),
    PanelSpec(
        "study",
        "Study",
        "ph.flask",
        "Ctrl+7",
        "Studies: recipes trained with several seeds and compared with confidence intervals",
        "sdgui.panels.study.panel",
        "StudyPanel",
        (MenuItem(STUDY_MENU, Section.OPEN),),
    ),
)
