"""One lookup as data: candidates, retries, and subtrees of the target."""

from dhtnode.lookup.candidates import Candidate, CandidateState
from dhtnode.lookup.lookup import Lookup
from dhtnode.lookup.subtrees import SubtreeQuery

__all__ = ["Candidate", "CandidateState", "Lookup", "SubtreeQuery"]
