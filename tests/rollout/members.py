"""The members of the world: what may happen to one of them, by the real member's table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from distributor.rollout import member as table
from distributor.rollout.commands import Command, Flip, Stage
from distributor.rollout.events import Flipped, Hello, RefusalReason, Refused, Report, Reverted, Settled, Staged
from distributor.rollout.member import Load, Reply, ReplyKind
from distributor.rollout.member_row import MemberRow, Slot, SlotName, other
from tests.rollout.canonical import CLOCK, NOW, Interner, identity
from tests.rollout.world import Bounds, Post, Violation

MIXED = "mixed"
WRONG = "wrong"
Content = int | str


class Store(NamedTuple):
    """A member: its row (interned), the true content of both slots, its loaders, and epochs that it ever staged.

    A content is a release; or the token of a load that has begun to write over it; or what two loads, or a load that
    stored something else than it should, have made of it. A loader is (load, has written).
    """

    row: int
    contents: tuple[Content, Content] = (0, 0)
    loaders: tuple[tuple[Load, bool], ...] = ()
    staged: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that may happen: the store after it, what it says (bits), and what it flipped or armed."""

    name: str
    store: int
    said: int = 0
    flipped: int | None = None
    armed: int = 0


class Members:
    """Steps of single members, computed once for each store and message."""

    def __init__(self, bounds: Bounds, post: Post, release_of: dict[str, int]) -> None:
        self.bounds, self.post, self.release_of = bounds, post, release_of
        self.rows: Interner[MemberRow] = Interner()
        self.stores: Interner[Store] = Interner()
        self._received: dict[tuple[int, int], tuple[Effect, ...]] = {}
        self._loaded: dict[int, tuple[Effect, ...]] = {}
        self._without: dict[tuple[int, bool], int] = {}
        self._row_of: list[MemberRow] = []

    def first(self, name: str) -> int:
        """At the start's release, nothing received."""
        release, shadow = self.bounds.start.get(name, 0), 1 if self.bounds.loaded else 0
        slots = {"a": _whole(release), "b": _whole(shadow)}
        row = MemberRow(environment="e", system=name).model_copy(update={"slots": slots})
        return self._number(Store(self.rows.number(row), (release, shadow)))

    def row(self, store: int) -> MemberRow:
        """A store's row."""
        return self._row_of[store]

    def receive(self, store: int, number: int) -> tuple[Effect, ...]:
        """Everything that a command may lead to at its member."""
        key = (store, number)
        if key not in self._received:
            command = self.post[number]
            assert not isinstance(command, Report)
            self._received[key] = tuple(self._receive(self.stores.values[store], command, number))
        return self._received[key]

    def go_on(self, store: int) -> tuple[Effect, ...]:
        """What may happen without a message: every loader's next batch, and what broken rules add."""
        if store not in self._loaded:
            found = self.stores.values[store]
            effects = [effect for loader in found.loaders for effect in self._load(found, loader)]
            if self.bounds.member_timers:
                effects += self._settle_alone(found)
            self._loaded[store] = tuple(effects)
        return self._loaded[store]

    def without(self, store: int, idle: bool) -> int:
        """The store without loaders that were cut for good: their token is gone, and tokens are fresh. `idle`: none."""
        if (store, idle) not in self._without:
            self._without[store, idle] = self._clear(store, idle)
        return self._without[store, idle]

    def _clear(self, store: int, idle: bool) -> int:
        found, row = self.stores.values[store], self.row(store)
        able = () if idle else tuple(x for x in found.loaders if _lives(row, x[0]))
        for load, _ in found.loaders:
            if not _lives(row, load) and table.may_continue(row, load):
                raise Violation(f"S4: a load of epoch {load.epoch} that was cut may still write")
        return store if able == found.loaders else self._number(found._replace(loaders=able))

    def fire(self, store: int, number: int) -> Effect:
        """A timer that flips what it found when it was armed."""
        flip, found, row = self.post[number], self.stores.values[store], self.row(store)
        assert isinstance(flip, Flip)
        slot: SlotName = next((n for n, s in row.slots.items() if s.release == flip.release), row.active)
        back = row.back_slot if slot == row.active else row.active
        row = row.model_copy(update={"active": slot, "back_slot": back, "flipped_epoch": flip.epoch})
        after = self._number(found._replace(row=self.rows.number(row)))
        return Effect(f"{flip.member}'s timer strikes", after, flipped=flip.epoch)

    def _receive(self, store: Store, command: Command, number: int) -> Iterator[Effect]:
        before, label = self.rows.values[store.row], self.post.briefs[number]
        target = identity(command.release) if isinstance(command, Stage) else None
        token = next(t for t in "stuvw" if t not in self._tokens(store))
        outcome = table.answer(before, command, target=target, token=token, now=NOW)
        row, action = outcome.row, outcome.action
        if row != before and is_over(before, command):
            raise Violation(f"S3: {label} changed its row, whose floor was {before.floor} {before.floor_id}")
        if isinstance(action, Reply) and action.reason is RefusalReason.NO_PREVIOUS:
            raise Violation(f"S5: {command.member} has no way back for {label}")
        flipped = row.flipped_epoch if row.flipped_epoch != before.flipped_epoch else None
        if row.staged_epoch is not None and row.staged_slot and row.slots[row.staged_slot].certificate != WRONG:
            store = store._replace(staged=store.staged | {row.staged_epoch})
        after = store._replace(row=self.rows.number(row))
        if isinstance(command, Flip) and self.bounds.blind_timers and flipped:
            yield Effect(f"{label}, and arms", self._number(store._replace(row=self.rows.number(before))), armed=1)
        match action:
            case Load():
                room = [tuple(x for x in store.loaders if x is not gone) for gone in store.loaders]
                for kept in [store.loaders] if len(store.loaders) < self.bounds.loaders else room:
                    yield self._effect(label, after._replace(loaders=(*kept, (action, False))))
            case Reply():
                yield self._effect(label, after, self._report(row, action, command), flipped)
            case _:
                raise AssertionError("a flip is always at its time here")
        works = isinstance(action, Load) or (isinstance(command, Flip) and flipped is not None)
        if self.bounds.refusals and works:
            left = before if isinstance(command, Flip) else row
            refusal = self._report(left, Reply(ReplyKind.REFUSED, RefusalReason.PERMANENT), command)
            yield self._effect(f"{label}, refuses", store._replace(row=self.rows.number(left)), refusal)

    def _load(self, store: Store, loader: tuple[Load, bool]) -> Iterator[Effect]:
        """The first batch, which tears the slot; then the last, with the commit. A cut load ends."""
        load, wrote = loader
        row = self.rows.values[store.row]
        rest = tuple(x for x in store.loaders if x is not loader)
        position = "ab".index(load.slot)
        name = row.system
        if not wrote:
            torn = table.tear(row, load)
            if torn is None:
                yield self._effect(f"{name} stops a load", store._replace(loaders=rest))
                return
            contents = _placed(store.contents, position, load.token)
            begun = Store(self.rows.number(torn), contents, (*rest, (load, True)), store.staged)
            yield self._effect(f"{name} writes for epoch {load.epoch}", begun)
            return
        release = row.online.release if load.settles else self.release_of.get(load.rollout_id)
        assert release is not None
        for stored in (f"c{release}", WRONG) if self.bounds.misfits and not load.settles else (f"c{release}",):
            whole = table.complete_load(row, load, identity=identity(release), manifest=None, certificate=stored)
            if whole is None:
                yield self._effect(f"{name} drops a load", store._replace(loaders=rest))
                return
            alone = store.contents[position] == load.token
            true: Content = (WRONG if stored == WRONG else release) if alone else MIXED
            staged = store.staged | {load.epoch} if not load.settles and stored != WRONG else store.staged
            done = Store(self.rows.number(whole), _placed(store.contents, position, true), rest, staged)
            reply = Reply(ReplyKind.SETTLED if load.settles else ReplyKind.STAGED)
            wrongly = ", wrongly" if stored == WRONG else ""
            label = f"{name} commits its load for epoch {load.epoch}{wrongly}"
            yield self._effect(label, done, self._report(whole, reply, load))

    def _effect(self, name: str, store: Store, report: Report | None = None, flipped: int | None = None) -> Effect:
        said = self.post.bit(report) if report else 0
        if self.bounds.greetings:
            row = self.rows.values[store.row]
            said |= self.post.bit(self._report(row, Reply(ReplyKind.HELLO), None))
            if row.floor > 1:
                said |= self.post.bit(self._report(row, Reply(ReplyKind.REFUSED, RefusalReason.STALE), None, epoch=0))
        return Effect(name, self._number(store), said, flipped)

    def _number(self, store: Store) -> int:
        number = self.stores.number(store._replace(loaders=tuple(sorted(store.loaders, key=_order))))
        if number == len(self._row_of):
            self._row_of.append(self.rows.values[store.row])
        return number

    def _report(self, row: MemberRow, reply: Reply, to: Command | Load | None, epoch: int | None = None) -> Report:
        at, rollout_id = (to.epoch, to.rollout_id) if to else (row.floor if epoch is None else epoch, row.floor_id)
        shows = row.online.identity.release if row.online.identity else 0
        head = (NOW, row.system, at, rollout_id, row.floor, shows, None, CLOCK, "")
        match reply.kind:
            case ReplyKind.STAGED:
                certificate = row.slots[row.staged_slot].certificate if row.staged_slot else ""
                return Staged(*head, certificate=certificate or "c0", mapping="m")
            case ReplyKind.FLIPPED:
                return Flipped(*head, flipped_at=NOW)
            case ReplyKind.REVERTED:
                return Reverted(*head)
            case ReplyKind.REFUSED:
                assert reply.reason is not None
                return Refused(*head, reason=reply.reason, text="")
            case ReplyKind.HELLO:
                return Hello(*head, flipped_epoch=row.flipped_epoch)
            case ReplyKind.SETTLED:
                return Settled(*head)

    def _tokens(self, store: Store) -> set[str | None]:
        used: set[str | None] = {slot.token for slot in self.rows.values[store.row].slots.values()}
        return used | {load.token for load, _ in store.loaders} | {c for c in store.contents if isinstance(c, str)}

    def _settle_alone(self, store: Store) -> Iterator[Effect]:
        """A member that brings its old slot up to date by a timer of its own."""
        row = self.rows.values[store.row]
        if row.flipped_epoch == row.floor and row.shadow.release != row.online.release and not store.loaders:
            slot = other(row.active)
            slots = {**row.slots, slot: row.slots[slot].model_copy(update={"token": "z"})}
            load = Load(slot, "z", row.floor, row.floor_id, settles=True)
            begun = self.rows.number(row.model_copy(update={"slots": slots}))
            yield self._effect(f"{row.system} settles by itself", store._replace(row=begun, loaders=((load, False),)))


def _whole(release: int) -> Slot:
    return Slot(identity=identity(release), certificate=f"c{release}" if release else "")


def is_over(row: MemberRow, command: Command) -> bool:
    """Whether a command may do nothing: its epoch is over, or is another rollout's."""
    at_floor = command.epoch == row.floor
    return command.epoch < row.floor or (at_floor and (row.closed or command.rollout_id != row.floor_id))


def _lives(row: MemberRow, load: Load) -> bool:
    return row.slots[load.slot].token == load.token and row.floor == load.epoch and not row.closed


def _order(loader: tuple[Load, bool]) -> tuple[object, ...]:
    load, wrote = loader
    return (load.epoch, load.token, wrote)


def _placed(contents: tuple[Content, Content], position: int, new: Content) -> tuple[Content, Content]:
    return (new, contents[1]) if position == 0 else (contents[0], new)
