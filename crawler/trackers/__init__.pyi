from .announcing import Announcer as Announcer
from .beside import TrackersBeside as TrackersBeside
from .known_urls import Wanted as Wanted
from .known_urls import read_tracker_list as read_tracker_list
from .overlaps import NamedPeers as NamedPeers
from .overlaps import overlaps_of as overlaps_of
from .sweep import TrackerSweeper as TrackerSweeper
from .tally import SweepTally as SweepTally
