from .lazy_group import LazyGroup as LazyGroup
from .running import run as run
from .running import run_until_signal as run_until_signal
from .running import run_with_timeout as run_with_timeout
from .running import serve_until_stopped as serve_until_stopped
