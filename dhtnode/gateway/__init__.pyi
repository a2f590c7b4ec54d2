from .core import GatewayCore as GatewayCore
from .refusals import Refusal as Refusal
from .refusals import RefusalKind as RefusalKind
from .settings import GatewaySettings as GatewaySettings
from .settings import Network as Network
from .udp_tracker import UdpTracker as UdpTracker
