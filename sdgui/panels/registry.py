"""The table of panels, in the order of the rail. A new panel is a package beside this file and one row here.

The row gives a panel its button on the rail, its shortcut, its entries in the View menu, in Ctrl+K, in the shortcut
list and in the tree's context menus, and its row in ``sdgui.bench``.
"""

from __future__ import annotations

from sdgui.shared.menus import RUN_MENU, STUDY_MENU
from sdgui.shared.panel import PanelSpec
from sdgui.widgets.actions import MenuItem, Section

PANELS = (
    PanelSpec(
        name="runs",
        title="Runs",
        group="Train",
        tree=True,
        launches=True,
        icon="ph.chart-line",
        shortcut="Ctrl+1",
        tip="Runs: their curves, events and samples",
        module="sdgui.panels.runs.panel",
        panel="RunsPanel",
        menus=(MenuItem(RUN_MENU, Section.OPEN),),
        keys=(
            ("Ctrl+wheel", "Zoom the x axis of all plots"),
            ("L", "Logarithmic scale of a plot"),
            ("R", "Reset the view of a plot"),
            ("Esc", "Restore a maximised plot"),
        ),
    ),
    PanelSpec(
        name="define",
        title="Define",
        group="Train",
        tree=True,
        launches=True,
        icon="ph.sliders-horizontal",
        shortcut="Ctrl+2",
        tip="Define an experiment: data, model, teacher, objectives",
        module="sdgui.panels.define.panel",
        panel="DefinePanel",
        keys=(("F8", "Go to the next problem"),),
    ),
    PanelSpec(
        name="study",
        title="Study",
        group="Train",
        tree=True,
        icon="ph.flask",
        shortcut="Ctrl+3",
        tip="Studies: recipes trained with several seeds and compared with confidence intervals",
        module="sdgui.panels.study.panel",
        panel="StudyPanel",
        menus=(MenuItem(STUDY_MENU, Section.OPEN),),
    ),
    PanelSpec(
        name="machines",
        title="Machines",
        group="Train",
        icon="ph.hard-drives",
        shortcut="Ctrl+4",
        tip="This computer and others, their GPUs, and the queue of runs",
        module="sdgui.panels.machines.panel",
        panel="MachinesPanel",
        keys=(
            ("Alt+Up, Alt+Down", "Start a queued run earlier; later"),
            ("Alt+Home, Alt+End", "Start a queued run next; last"),
            ("Delete", "Take a queued run out of the queue"),
        ),
    ),
    PanelSpec(
        name="search",
        title="Search",
        group="Use",
        use="Search with this run",
        icon="ph.image-square",
        shortcut="Ctrl+6",
        tip="Search pictures by words, words by pictures, with one model or two side by side",
        module="sdgui.panels.search.panel",
        panel="SearchPanel",
        keys=(
            ("Up, Down", "Previous searches, in the search box; Down past the last one moves to the results"),
            ("Alt+Enter, Shift+Enter", "Add the words to the query; exclude them"),
            ("M, T", "More like this picture; its nearest captions"),
            ("Ctrl+Alt++, Ctrl+Alt+-", "Add the picture to the query; exclude similar ones"),
            ("Alt+P, Alt+V, Alt+M", "Pictures, evaluation, map"),
            ("Ctrl+B", "Compare with a second model"),
            ("Ctrl+S, Ctrl+H", "Save the search; search history"),
            ("Ctrl+Shift+F, Ctrl+Shift+I", "Filters; a picture from a file"),
            ("R, A, plus, minus, arrows", "On the map: show all, select what is in view, zoom, pan"),
        ),
    ),
    PanelSpec(
        name="classify",
        title="Classify",
        group="Use",
        use="Classify with this run",
        icon="ph.chart-bar",
        shortcut="Ctrl+7",
        tip="Classify labelled pictures: accuracy, confusion, mistakes, probes; try your own pictures",
        module="sdgui.panels.classify.panel",
        panel="ClassifyPanel",
    ),
    PanelSpec(
        name="caption",
        title="Caption",
        group="Use",
        use="Caption with this run",
        icon="ph.closed-captioning",
        shortcut="Ctrl+8",
        tip="Caption pictures; edit, compare and export the captions, or train on them",
        module="sdgui.panels.caption.panel",
        panel="CaptionsPanel",
    ),
    PanelSpec(
        name="clean",
        title="Clean",
        group="Use",
        use="Rank pairs with this run",
        icon="ph.eraser",
        shortcut="Ctrl+9",
        tip="Likely mislabelled pairs: mark them, exclude them, save cleaned data",
        module="sdgui.panels.clean.panel",
        panel="CleanPanel",
    ),
)
