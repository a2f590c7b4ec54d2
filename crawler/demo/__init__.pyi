from .demo import Comparison as Comparison
from .demo import DemoResult as DemoResult
from .demo import run_demo as run_demo
from .example import database as database
from .example import make_example as make_example
from .example import truth_of as truth_of
from .example import with_truth as with_truth
from .table import print_comparison as print_comparison
