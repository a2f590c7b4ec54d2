from .gateway import Gateway as Gateway
from .open_gateway import open_gateway as open_gateway
from .statistics import GatewayStatistics as GatewayStatistics
