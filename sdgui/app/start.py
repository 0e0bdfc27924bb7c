"""Start of the program: options, home folder, services, the window."""

from __future__ import annotations

import argparse
import locale
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import platformdirs
from PySide6.QtCore import QMessageLogContext, QSettings, QTimer, QtMsgType, qInstallMessageHandler
from PySide6.QtWidgets import QApplication, QMessageBox

from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.installed import add_command, has_trainer
from sdgui.actions.help import program_version
from sdgui.app.collecting import collect_in_main_thread, freeze_permanent_objects
from sdgui.app.desktop import install_desktop, uninstall_desktop
from sdgui.app.failures import Failures
from sdgui.app.main_window import MainWindow
from sdgui.app.panel_stack import FIRST_PANEL_SECONDS
from sdgui.app.qt_types import create_qt_types
from sdgui.runs.background_tasks import StoreWriter
from sdgui.runs.demo import DemoData
from sdgui.runs.follower import Follower
from sdgui.runs.launcher import Launcher
from sdgui.runs.machines.hosts import Hosts
from sdgui.runs.machines.remote_access import RemoteImages, worker_command
from sdgui.runs.machines.slots import MachineSlots
from sdgui.runs.study_programs import StudyPrograms
from sdgui.shared.basket import Basket
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_number
from sdgui.store.database import MIGRATIONS
from sdgui.store.records import Place, StoreError
from sdgui.store.registry.address import RegistryAddress, parse_address
from sdgui.store.registry.server import upgrade_registry
from sdgui.store.store import Store
from sdgui.widgets.gallery.images import set_image_fetcher
from sdgui.widgets.message import Message, Remedy, info
from sdgui.widgets.plain_text import make_plain
from sdgui.widgets.style.theme import Scheme, apply_theme, theme
from sdgui.worker.pool import WorkerPool

_SWITCH_SECONDS = 0.001  # interval at which threads take turns; Python's 5 ms would delay the window
_DISPLAY_REMEDY = (
    "start sdgui on a machine with a display, or through ssh -X. To find missing libraries, run sdgui-core doctor"
)
_SCHEMES: dict[str, Scheme] = {"system": "system", "light": "light", "dark": "dark"}


def make_parser() -> argparse.ArgumentParser:
    """The options of ``sdgui``; the reference is generated from them too."""
    parser = argparse.ArgumentParser(
        prog="sdgui", description="Define, train, watch and use self-distilling image-language models."
    )
    parser.add_argument("path", type=Path, nargs="?", metavar="FILE", help="a config (JSON) or a run folder to open")
    parser.add_argument("--demo", action="store_true", help="open with demo data and an experiment ready to launch")
    parser.add_argument(
        "--home", type=Path, metavar="DIR", help="folder for experiments and runs (default: the user's data folder)"
    )
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="rename the database, rebuild it from the run folders, and exit; close every window first",
    )
    parser.add_argument(
        "--registry",
        metavar="ADDRESS",
        help="keep experiments, runs, tags, notes and studies in a group's PostgreSQL: "
        "postgresql+psycopg://USER@HOST/DATABASE",
    )
    parser.add_argument(
        "--upgrade-registry",
        action="store_true",
        help="upgrade an older registry to this version, and exit; everyone else must close the window first",
    )
    parser.add_argument("--install-desktop", action="store_true", help="add sdgui to the desktop's menu, and exit")
    parser.add_argument("--uninstall-desktop", action="store_true", help="remove the menu entry, and exit")
    parser.add_argument("--version", action="version", version=f"sdgui {program_version()}")
    return parser


def home_folder(home: Path | None, demo: bool) -> Path:
    """The folder of experiments and runs: ``home`` if given; the demo has its own."""
    if home is not None:
        return expand_user(home).absolute()
    data = platformdirs.user_data_path("sdgui", appauthor=False)
    return data / "demo" if demo else data


def make_application() -> QApplication:
    """The application with sdgui's theme; numbers use a decimal point in every locale."""
    create_qt_types()  # before the first thread starts
    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else _application()
    locale.setlocale(locale.LC_NUMERIC, "C")  # QApplication has set the user's locale
    sys.setswitchinterval(_SWITCH_SECONDS)
    app.setApplicationName("sdgui")
    app.setApplicationDisplayName("sdgui")
    app.setDesktopFileName("sdgui")
    apply_theme(app)
    collect_in_main_thread(app)
    return app


def _application() -> QApplication:
    """Create the application. Without a screen, print an error and exit with status 1 instead of Qt's abort."""
    messages: list[str] = []

    def handle(kind: QtMsgType, _context: QMessageLogContext, text: str) -> None:
        if kind != QtMsgType.QtFatalMsg:
            messages.append(text)
            return
        reason = " ".join((messages or [text])[0].split())[:200]
        print(
            f"sdgui: the window cannot open, because Qt finds no display ({reason}); {_DISPLAY_REMEDY}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # Qt aborts as soon as this returns

    previous_handler = qInstallMessageHandler(handle)
    try:
        return QApplication(sys.argv[:1])
    finally:
        qInstallMessageHandler(previous_handler)
        for text in messages:
            print(text, file=sys.stderr)


def make_services(
    home: Path,
    trainer: Sequence[str] | None = None,
    worker: Sequence[str] | None = None,
    demo: Sequence[str] | None = None,
    study: Sequence[str] | None = None,
    registry: RegistryAddress | None = None,
) -> Services:
    """Open the store in ``home``, or a group's ``registry``, and create all services that use it.

    ``trainer``, ``worker``, ``demo`` and ``study`` are commands to run instead of sdgui's programs, for tests. Raises
    StoreError.
    """
    store = Store.open(home, registry)
    settings = QSettings(str(store.home / "window.ini"), QSettings.Format.IniFormat)
    data = DemoData(store.home / "demo-data", demo)
    pool = WorkerPool(worker, remote_command=partial(worker_command, store.home))
    hosts = Hosts(store.home)
    set_image_fetcher(RemoteImages(store.home, hosts.machines).fetch)
    keep_place(hosts, settings)
    slots = MachineSlots(hosts.local_gpus, _parallel_runs(settings), hosts.slots)
    studies = StudyPrograms(store, study, slots=slots.unreserved)
    slots.reserved = studies.reserved
    launcher = Launcher(store, trainer, slots=slots, remote=hosts)
    hosts.stage_begun.connect(launcher.chains.start)
    writer = StoreWriter()
    basket = Basket(store, writer)
    return Services(store, launcher, Follower(store), data, settings, pool, studies, writer, basket, hosts)


def keep_place(hosts: Hosts, settings: QSettings) -> None:
    """Restore the machine of the last launch, if it still exists, and save later choices."""
    saved = Place(str(settings.value("launch/host") or ""), str(settings.value("launch/devices") or ""))
    with suppress(UserError):
        if not saved.host or any(machine.name == saved.host for machine in hosts.machines.list.machines()):
            hosts.set_place(saved)

    def keep(place: Place) -> None:
        settings.setValue("launch/host", place.host)
        settings.setValue("launch/devices", place.devices)

    hosts.place_changed.connect(keep)


def _parallel_runs(settings: QSettings) -> int:
    """The saved maximum number of runs that the queue starts in parallel if this computer has no GPU."""
    return max(1, parse_number(settings.value("queue/at_once"), 1))


def open_window(home: Path, demo: bool, registry: RegistryAddress | None = None) -> MainWindow:
    """Open and show the window, reattached to active runs. Raises StoreError."""
    services = make_services(home, registry=registry)
    theme().set_scheme(_SCHEMES.get(str(services.settings.value("window/scheme")), "system"))
    window = MainWindow(services)
    window.setFocus()  # otherwise Qt would focus the first button of the rail
    window.show()
    QTimer.singleShot(int(1e3 * FIRST_PANEL_SECONDS), window, services.follower.start)
    if not has_trainer():
        QTimer.singleShot(0, window, lambda: window.show_message(no_trainer_message()))
    if demo:
        QTimer.singleShot(0, window, partial(window.experiment_commands.add_demo, "search"))
    return window


def no_trainer_message() -> Message:
    """A message about what the window can do without the trainer, and how to install it."""
    command = add_command("train")
    text = (
        "The trainer is not installed on this computer. You can watch runs and launch them on other machines. To "
        f"train, search, classify and caption on this computer, install it with: {command}"
    )
    return info(text, remedy=Remedy("Copy command", lambda: QApplication.clipboard().setText(command)))


def refuse(sentence: str) -> None:
    """Report why the window does not open."""
    print(f"sdgui: {sentence}", file=sys.stderr)
    box = QMessageBox(QMessageBox.Icon.Critical, "sdgui", sentence)
    box.setObjectName("refused")
    make_plain(box)
    box.exec()


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the window and stay until it is closed."""
    parsed = make_parser().parse_args(arguments)
    if parsed.install_desktop or parsed.uninstall_desktop:
        return change_desktop(parsed.install_desktop)
    if parsed.upgrade_registry:
        return upgrade(parsed.registry or "")
    if parsed.rebuild:
        return rebuild(home_folder(parsed.home, parsed.demo))
    app = make_application()
    home = home_folder(parsed.home, parsed.demo)
    failures = Failures(home / "sdgui.log")
    failures.install()
    try:
        registry = parse_address(parsed.registry) if parsed.registry else None
        window = open_window(home, parsed.demo, registry)
        if parsed.path is not None:
            QTimer.singleShot(0, window, partial(open_path, window, expand_user(parsed.path).absolute()))
    except StoreError as error:
        refuse(str(error))
        return 1
    freeze_permanent_objects(window)
    code = app.exec()
    window.services.store.close()
    return code


def open_path(window: MainWindow, path: Path) -> None:
    """Create an experiment from a config, or import a run folder or another tool's logs."""
    if path.is_dir() or path.suffix != ".json":
        window.experiment_commands.import_run(path)
    else:
        window.experiment_commands.new_from_file(path)


def change_desktop(install: bool) -> int:
    """Add or remove the desktop menu entry; print the files written or removed."""
    try:
        files = install_desktop() if install else uninstall_desktop()
    except UserError as error:
        print(f"sdgui: {error}", file=sys.stderr)
        return 1
    for file in files:
        print(file)
    if not files:
        print("sdgui: there was no menu entry.", file=sys.stderr)
    return 0


def upgrade(address: str) -> int:
    """Upgrade a registry to this version, and print both versions."""
    try:
        old, new = upgrade_registry(parse_address(address), MIGRATIONS)
    except StoreError as error:
        print(f"sdgui: {error}", file=sys.stderr)
        return 1
    print(f"{parse_address(address)}: version {old} -> {new}.")
    return 0


def _report_rebuild(finished: int, total: int) -> None:
    if finished % 100 == 0 or finished == total:
        print(f"sdgui: {finished} of {total} run folders read", file=sys.stderr, flush=True)


def rebuild(home: Path) -> int:
    """Rebuild the database from the run folders, and print an error for each unreadable folder."""
    try:
        store, problems = Store.rebuild(home, _report_rebuild)
    except StoreError as error:
        print(f"sdgui: {error}", file=sys.stderr)
        return 1
    for problem in problems:
        print(f"sdgui: {problem}", file=sys.stderr)
    print(f"{store.local_file}: runs listed: {len(store.runs())}, run folders that could not be read: {len(problems)}.")
    store.close()
    return 0
