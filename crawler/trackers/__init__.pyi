from .announcing import Announcer as Announcer
from .announcing import Place as Place
from .overlaps import NamedPeers as NamedPeers
from .overlaps import overlaps_of as overlaps_of
