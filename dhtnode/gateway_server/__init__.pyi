from .gateway import Gateway as Gateway
from .gateway import GatewayStatistics as GatewayStatistics
from .open_gateway import open_gateway as open_gateway
