"""A whole DHT played by one process, with the truth about it: for everybody who develops a crawler.

`Network` is the model: hand it a datagram, it says what comes back.  `population` and `tables` say
who is there and whom each knows, `swarms` who stores what, `replies` and `hostile` what is written.
`server` puts a network on loopback, `memory` into a `MemoryNetwork`; `truth` writes it down.
"""

from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.network import Network
from crawler.synthetic.server import open_server
from crawler.synthetic.settings import SyntheticSettings

__all__ = ["Network", "SyntheticMemoryNetwork", "SyntheticSettings", "open_server"]
