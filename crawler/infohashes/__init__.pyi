from . import survey as survey
from .survey import Discovery as Discovery
from .survey import InfohashSurvey as InfohashSurvey
from .survey import SampleCounts as SampleCounts
from .turns import Plan as Plan
