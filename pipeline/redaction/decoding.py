"""The model's entities of documents, read off its network without spaCy's loop over single tokens.

spaCy decides token by token, and its loop takes and releases Python's global lock around every check of a move: two
thirds of the recogniser's time. What it decides is the best allowed move of each token, from left to right. Outside of
an entity a move depends on the token alone, so these are scored for all tokens with one product of matrices; inside of
one there are two moves, to go on or to end it. The network, its sums and the rules are spaCy's
(`transition_parser.pyx`, `_parser_internals/ner.pyx`); findings are compared with spaCy's own by tests and the bench.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from spacy.attrs import IS_SPACE
from spacy.tokens import Span

# What a state looks at: the next token, the first and the last one of the entity that is open.
_FEATURES: Final = 3


class Decoder:
    """Decides like a recogniser of spaCy's.

    Args:
        ner: the pipe; `fits` says whether it is of the kind that is understood here.
    """

    def __init__(self, ner: Any) -> None:
        self._model = ner.model
        # Not `ner.move_names`, which leaves a move out that has a score.
        names = [ner.moves.get_class_name(i) for i in range(ner.moves.n_moves)]
        self._moves = [(move, label) for move, _, label in (name.partition("-") for name in names)]
        self._begins = np.array([move == "B" and bool(label) for move, label in self._moves])
        self._units = np.array([move == "U" and bool(label) for move, label in self._moves])
        self._out = self._moves.index(("O", ""))
        self._inside = {
            label: sorted((i, move) for i, (move, other) in enumerate(self._moves) if other == label and move in "IL")
            for label in {label for _, label in self._moves if label}
        }

    @staticmethod
    def fits(ner: Any) -> bool:
        """Whether a pipe decides greedily, from three tokens, by the moves B, I, L, U and O."""
        try:
            lower = ner.model.get_ref("lower")
            return (
                ner.cfg["beam_width"] == 1
                and lower.get_dim("nF") == _FEATURES
                and lower.get_dim("nP") >= 2
                and bool(ner.model.attrs["has_upper"])
                and not ner.model.attrs["unseen_classes"]
                and {name.split("-", 1)[0] for name in ner.move_names} <= set("BILUO")
            )
        except (KeyError, ValueError, AttributeError):
            return False

    def recognise(self, docs: Sequence[Any]) -> None:
        """Set the entities of documents that have none, all in one batch."""
        docs = [doc for doc in docs if len(doc)]
        if not docs:
            return
        step = self._model.predict(docs)
        total = sum(map(len, docs))
        ids = np.full((total, _FEATURES), -1, dtype="i")
        ids[:, 0] = np.arange(total)
        scores = self._scores(step, ids)
        can_begin = np.concatenate([doc.to_array(IS_SPACE) for doc in docs]) == 0
        can_go_on = np.ones(total, dtype=bool)
        can_go_on[np.cumsum([len(doc) for doc in docs]) - 1] = False
        allowed = np.zeros(scores.shape, dtype=bool)
        allowed[:, self._out] = True
        allowed |= self._units & can_begin[:, None]
        allowed |= self._begins & (can_begin & can_go_on)[:, None]
        best = np.where(allowed, scores, -np.inf).argmax(axis=1)
        starts = np.flatnonzero(best != self._out)
        offset = at = 0
        for doc in docs:
            end = offset + len(doc)
            spans = []
            done = offset
            while at < len(starts) and starts[at] < end:
                start = int(starts[at])
                at += 1
                if start < done:
                    continue
                move, label = self._moves[best[start]]
                done = start + 1 if move == "U" else self._end(step, start, end, label)
                spans.append(Span(doc, start - offset, done - offset, label=label))
            doc.set_ents(spans)
            offset = end
        step.clear_memory()

    def _end(self, step: Any, start: int, last: int, label: str) -> int:
        """Where an entity that begins at a token ends; both are places in the batch, `last` ends the document."""
        moves = self._inside[label]
        for place in range(start + 1, last - 1):
            scores = self._scores(step, np.array([[place, start, place - 1]], dtype="i"))[0]
            if max(moves, key=lambda one: (scores[one[0]], -one[0]))[1] == "L":
                return place + 1
        return last

    @staticmethod
    def _scores(step: Any, ids: Any) -> Any:
        """Scores of all moves in states that see the given tokens of the batch, a row a state."""
        hidden, _ = step.state2vec(ids, False)
        scores, _ = step.vec2scores(hidden, False)
        return scores
