"""Which nodes of a crawl are found or missed together, by the referrers that they have from elsewhere."""

import numpy as np
from numpy.typing import NDArray

from crawler.analysis.crawl_size import OutsideNamings
from crawler.analysis.species_richness import EXACT_REFERRERS

_ID_BITS = 32  # enough to tell parts apart in which a few of a million nodes are


def named_from_outside(ids: NDArray[np.uint32], distances: NDArray[np.uint32], most: int) -> OutsideNamings:
    """Return how many nodes lie in parts of the id space that hardly any node outside of them returned.

    A few nodes alone in their part of the id space, beside parts that are full, are returned by each other
    only, but for the rare reply that goes that far: they are found together or missed together.  So the
    nodes of a part count together, and referrers within it do not count.

    - `ids`: the first 32 bits of those of the nodes that answered, sorted;
    - `distances`: a row for each of them, the bits (`^`) in which it differs from the answering nodes that
      returned it; 0 for none.  Of many, the five farthest do;
    - `most`: nodes in a part, the largest aligned ones that have no more: about as many of 8 contacts
      as answer (`8 * answered // sighted`), since 8 are what a node returns of its own part.

    Costs some us per id.
    """
    parts, referrers = _referrers_of_parts(ids, distances, most)
    sizes = np.bincount(parts)
    is_hanging = (referrers > 0) & (referrers <= EXACT_REFERRERS)
    sizes, referrers = sizes[is_hanging], referrers[is_hanging]
    hanging = np.bincount(referrers, weights=sizes, minlength=EXACT_REFERRERS + 1).astype(int).tolist()
    _, once, twice, thrice, four_times = hanging
    together = float(np.square(sizes).sum() / sizes.sum()) if len(sizes) else 1.0
    return OutsideNamings((once, twice, thrice, four_times), together)


def are_named_by_few(
    ids: NDArray[np.uint32], distances: NDArray[np.uint32], most: int, also: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which nodes `named_from_outside` counts, and which lie in a part with one of `also`.

    Without the distances of all others it comes to the same.
    """
    parts, referrers = _referrers_of_parts(ids, distances, most)
    is_wanted = (referrers > 0) & (referrers <= EXACT_REFERRERS)
    is_wanted[parts[also]] = True
    are_wanted: NDArray[np.bool_] = is_wanted[parts]
    return are_wanted


def _referrers_of_parts(
    ids: NDArray[np.uint32], distances: NDArray[np.uint32], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the part of each id, and how many nodes outside of it returned nodes of each part."""
    wide = ids.astype(np.uint64)
    heights = _heights_of_parts(wide, max(most, 1))
    parts = _groups((wide[1:] ^ wide[:-1]) >> heights[1:]) if len(ids) else np.zeros(0, np.int64)
    rows, columns = np.nonzero(distances >> heights[:, None])
    outside = wide[rows] ^ distances[rows, columns]
    pairs = np.unique(parts[rows].astype(np.uint64) << np.uint64(_ID_BITS) | outside)
    of_pairs = (pairs >> np.uint64(_ID_BITS)).astype(np.int64)
    return parts, np.bincount(of_pairs, minlength=int(parts[-1]) + 1 if len(parts) else 0)


def _heights_of_parts(ids: NDArray[np.uint64], most: int) -> NDArray[np.uint64]:
    """Return for each id the bits below the prefix of its part: the largest with no more than `most` ids."""
    heights = np.zeros(len(ids), np.uint64)
    left = np.arange(len(ids))
    for height in range(_ID_BITS, 0, -1):
        prefixes = ids[left] >> np.uint64(height)
        groups = _groups(prefixes[1:] ^ prefixes[:-1]) if len(left) else left
        is_part = np.bincount(groups)[groups] <= most
        heights[left[is_part]] = height
        left = left[~is_part]
    return heights


def _groups(steps: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the group of each of some ordered values, given whether it differs from the one before."""
    return np.concatenate([[0], np.cumsum(steps > 0)])
