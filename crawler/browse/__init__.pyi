from .serving import Opened as Opened
from .serving import PortTaken as PortTaken
from .serving import open_all as open_all
from .serving import serve as serve
