from .context import NodeContext as NodeContext
from .context import new_context as new_context
from .lookup_driver import LookupDriver as LookupDriver
from .socket_node import SocketNode as SocketNode
from .state_file import SavedState as SavedState
from .state_file import load_state as load_state
from .state_file import save_state as save_state
from .statistics import SocketStatistics as SocketStatistics
