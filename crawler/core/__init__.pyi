from .exclusion import Area as Area
from .exclusion import Exclusion as Exclusion
from .pace import Pace as Pace
from .query_loop import Crawl as Crawl
from .query_loop import drive as drive
from .session import Session as Session
from .session import open_session as open_session
