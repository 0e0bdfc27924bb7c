# What a notebook uses, as type checkers see it; at run time `core.__getattr__` loads each when it is asked for.
from core.custom.callbacks import Callback as Callback
from core.notebook.frames import read_run as read_run
from core.notebook.models import Model as Model
from core.notebook.models import Report as Report
from core.notebook.models import caption as caption
from core.notebook.models import encode as encode
from core.notebook.models import evaluate as evaluate
from core.notebook.models import open_model as open_model
from core.notebook.sweeps import sweep as sweep
from core.notebook.training import preset as preset
from core.notebook.training import train as train
from core.spec.config import RunConfig as RunConfig
from core.spec.errors import UserError as UserError
from core.tracking.logged_run import LoggedRun as LoggedRun
from core.tracking.media import Image as Image
from core.tracking.media import Table as Table
from core.tracking.media import Text as Text
from core.tracking.starting import start_run as start_run

__version__: str
