from .node_source import NodeSource as NodeSource
from .packed_nodes import PackedNodes as PackedNodes
from .survey import MeasurementCounts as MeasurementCounts
from .survey import SwarmSurvey as SwarmSurvey
from .watch import SwarmWatch as SwarmWatch
from .watch_list import WatchList as WatchList
