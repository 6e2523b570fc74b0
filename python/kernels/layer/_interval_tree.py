"""Intervals with values, and the smallest one around a point.

Kept for programs that reach for it: the intervals of a mapping are the core's. The same interval replaces; among
intervals of one size the later one wins; one that replaces counts as later.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Node:
    """An interval in a balanced (AVL) tree, ordered by start, then end."""

    __slots__ = ("start", "end", "data", "rank", "left", "right", "height", "max_end")

    def __init__(self, start: int, end: int, data: Any, rank: int) -> None:
        self.start, self.end, self.data, self.rank = start, end, data, rank
        self.left: _Node | None = None
        self.right: _Node | None = None
        self.update()

    def update(self) -> None:
        self.height = 1 + max(_height(self.left), _height(self.right))
        ends = [child.max_end for child in (self.left, self.right) if child]
        self.max_end = max(self.end, *ends) if ends else self.end


def _height(node: _Node | None) -> int:
    return node.height if node else 0


def _rotate(node: _Node, up: str, down: str) -> _Node:
    """The child on side `up` takes the node's place; the node becomes its child on side `down`."""
    child = getattr(node, up)
    setattr(node, up, getattr(child, down))
    setattr(child, down, node)
    node.update()
    child.update()
    return child


def _balance(node: _Node) -> _Node:
    node.update()
    for up, down in (("left", "right"), ("right", "left")):
        child = getattr(node, up)
        if _height(child) - _height(getattr(node, down)) > 1:
            if _height(getattr(child, down)) > _height(getattr(child, up)):
                setattr(node, up, _rotate(child, down, up))
            return _rotate(node, up, down)
    return node


class IntervalTree:
    """Inclusive intervals of integers, each with a value.

    >>> tree = IntervalTree[str]()
    >>> tree.insert(75, 89, "wide")
    >>> tree.insert(80, 89, "narrow")
    >>> tree.find_smallest_interval(86)
    'narrow'
    """

    def __class_getitem__(cls, item: Any) -> type[IntervalTree]:
        return cls

    def __init__(self) -> None:
        self.root: _Node | None = None
        self._rank = 0

    def insert(self, start: int, end: int, data: Any) -> None:
        """Adds an interval; the same start and end replace its value. Raises ValueError when start > end."""
        if start > end:
            raise ValueError(f"interval {start} to {end} is empty: the start must be <= the end")
        self._rank += 1
        self.root = self._insert(self.root, start, end, data)

    def _insert(self, node: _Node | None, start: int, end: int, data: Any) -> _Node:
        if node is None:
            return _Node(start, end, data, self._rank)
        if (start, end) == (node.start, node.end):
            node.data, node.rank = data, self._rank
            return node
        side = "left" if (start, end) < (node.start, node.end) else "right"
        setattr(node, side, self._insert(getattr(node, side), start, end, data))
        return _balance(node)

    def _around(self, point: int) -> list[_Node]:
        found, waiting = [], [self.root]
        while waiting:
            node = waiting.pop()
            if node is None or point > node.max_end:
                continue
            waiting.append(node.left)
            if node.start <= point:
                if point <= node.end:
                    found.append(node)
                waiting.append(node.right)
        return found

    def search(self, point: int) -> list[Any]:
        """The values of all intervals that contain the point."""
        return [node.data for node in self._around(point)]

    def find_smallest_interval(self, point: int) -> Any | None:
        """The value of the smallest interval that contains the point; None without one."""
        best = min(self._around(point), key=lambda node: (node.end - node.start, -node.rank), default=None)
        return best.data if best else None
