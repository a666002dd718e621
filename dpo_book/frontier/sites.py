"""Where an arena is made: by a built-in world's name, or to order. Any process makes the same one from its site."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from dpo_book.frontier.arena import ARENAS, Arena
from dpo_book.maths.require import SettingError


class Site(Protocol):
    """What a run needs to make its arena, in whatever process: hashable, and small enough to be sent there."""

    @property
    def name(self) -> str:
        """Of the arena, and of its table's file."""

    def settings(self) -> dict:
        """What decides its numbers besides the plan, as JSON can write it; it stands beside the table."""

    def arena(self) -> Arena:
        """The arena itself."""


@dataclass(frozen=True)
class BuiltIn:
    """One of the book's own worlds, about which there is nothing to choose."""

    name: str

    def settings(self) -> dict:
        return {}

    def arena(self) -> Arena:
        return ARENAS[self.name]()


def site_of(world: str | Site) -> Site:
    """The site of a world: itself, or a built-in world's by its name. SettingError for a name that there is not."""
    if not isinstance(world, str):
        return world
    if world not in ARENAS:
        raise SettingError(f"there is no world {world!r}; choose one of {', '.join(ARENAS)}")
    return BuiltIn(world)


@lru_cache(maxsize=1)
def arena_at(site: Site) -> Arena:
    """The arena of a site, made once as long as no other is asked for."""
    return site.arena()
