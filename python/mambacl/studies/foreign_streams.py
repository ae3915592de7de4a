"""Episodes whose queries follow another episode's stream: what a learner knows without memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mambacl.episodes import Episode, Episodes


@dataclass(frozen=True, eq=False)
class ForeignStreams:
    """Gives the queries of an episode the stream of the next episode. A learner whose error is the same
    on these has not used its memory.

    Attributes:
        source: Of episodes with vectors.
    """

    source: Episodes

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`, as batches of the source; of tasks by
        their numbers those of queries and stream have nothing in common."""
        own = self.source.batch(first_index, batch_size)
        other = self.source.batch(first_index + 1, batch_size)
        return dataclasses.replace(own, train_x=other.train_x, train_y=other.train_y)
