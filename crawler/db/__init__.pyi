from .connection import DatabaseError as DatabaseError
from .connection import open_reading as open_reading
from .database import CrawlDatabase as CrawlDatabase
from .purge.orders import Orders as Orders
from .records.records import Visit as Visit
from .writer import Writer as Writer
from .writer import open_writer as open_writer
