"""The parts of a node on one socket, made from what all sockets of the node share."""

from dhtnode.addresses import Family, Scope
from dhtnode.ids import NodeId
from dhtnode.net.rpc import OnMoved, Rpc
from dhtnode.net.udp import DatagramSocket
from dhtnode.node.context import NodeContext
from dhtnode.routing.table import RoutingTable
from dhtnode.server.fast_path import FastPath
from dhtnode.server.inbound import Inbound
from dhtnode.server.responder import Responder
from dhtnode.server.sources import Sources
from dhtnode.settings import VERSION_TAG


def new_table(node_id: NodeId, family: Family, scope: Scope, context: NodeContext) -> RoutingTable:
    """Return an empty table, which refuses the ids of all sockets of the node."""
    return RoutingTable(
        node_id,
        family,
        scope,
        bucket_size=context.settings.bucket_size,
        good_for=context.settings.good_for,
        bad_after=context.settings.bad_after,
        ours=context.identities.ids,
    )


def new_rpc(socket: DatagramSocket, table: RoutingTable, context: NodeContext, on_moved: OnMoved) -> Rpc:
    """Return the queries over a socket, whose table is entered into the context."""
    meters, lifetime = context.admission.meters, context.settings.good_for
    return Rpc(
        socket,
        table,
        Sources(socket.scope, context.identities.by_address, meters, lifetime=lifetime),
        context.admission,
        context.random_bytes,
        on_moved=on_moved,
        version=VERSION_TAG,
        settings=context.settings,
        outgoing=context.outgoing,
    )


def new_inbound(rpc: Rpc, table: RoutingTable, context: NodeContext) -> Inbound:
    """Return what answers the queries of others over the socket of `rpc`."""
    responder = Responder(
        table,
        context.tables,
        rpc.socket.scope,
        context.peers,
        context.tokens,
        context.items,
        version=VERSION_TAG,
    )
    fast_path = FastPath(table, context.peers, context.tokens, version=VERSION_TAG)
    return Inbound(
        rpc.family,
        rpc.sources,
        responder.respond,
        context.admission,
        fast_path=None if context.settings.read_only else fast_path,
        version=VERSION_TAG,
    )
