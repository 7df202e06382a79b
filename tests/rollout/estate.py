"""A whole environment with clocks: the rule-book, members that die and come back, and a post that keeps no order.

The same real functions as in world.py, but with time, holds, queues, edits of the config and up to four members: more
than a walk could visit, so that chance picks what happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from distributor.ledger import environments
from distributor.rollout import member as table
from distributor.rollout import protocol
from distributor.rollout.commands import Alarm, Command, Settle, Stage
from distributor.rollout.events import (
    Event,
    Flipped,
    Hello,
    MembersConfigured,
    RefusalReason,
    Refused,
    Report,
    Requested,
    Reverted,
    Settled,
    Staged,
    Tick,
)
from distributor.rollout.member import Load, Reply, ReplyKind, Wait
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.rollout.state import Cause, Clock, Environment, Expected, Requirement, Rollout, RolloutState, Timing
from tests.rollout.canonical import NOW, brief, identity
from tests.rollout.members import MIXED, WRONG, Content, is_over
from tests.rollout.world import Violation, one_at_a_time, remembers_flips

TIMING = Timing(
    stage_deadline=timedelta(minutes=2),
    flip_deadline=timedelta(seconds=30),
    flip_lead=timedelta(seconds=1),
    resend_after=timedelta(seconds=5),
    heard_within=timedelta(seconds=15),
    keep_previous=timedelta(minutes=5),
)
_UNSETTLED = (RolloutState.FLIPPING, RolloutState.REVERTING)


@dataclass
class Loader:
    """A process that loads `release`; `wrote`: it has begun to write over the slot."""

    load: Load
    release: int
    wrote: bool = False


@dataclass
class Site:
    """A member. The row and what the slots hold survive a crash, loaders do not. Its clock is `ahead`."""

    row: MemberRow
    ahead: timedelta
    contents: dict[SlotName, Content] = field(default_factory=lambda: {"a": 0, "b": 0})
    loaders: list[Loader] = field(default_factory=list)
    staged: set[int] = field(default_factory=set)
    up: bool = True

    @property
    def shows(self) -> Content:
        """What readers see."""
        return self.contents[self.row.active]


class Estate:
    """Everything there is. `post` arrives in any order, or never; `sent` may come again."""

    def __init__(self, members: Mapping[str, Requirement], ahead: Mapping[str, timedelta]) -> None:
        self.now = NOW
        self.config = dict(members)
        self.state = Environment("e")
        self.sites = {n: Site(MemberRow(environment="e", system=n), ahead[n]) for n in members}
        self.post: list[Command | Report] = []
        self.sent: list[Command | Report] = []
        self.required: dict[int, frozenset[str]] = {}
        self.published = 1
        self._ids = 0
        self.restart()

    # The coordinator

    def feed(self, event: Event) -> None:
        """One event; its commands go into the post."""
        before = self.state
        self.state, outputs = protocol.decide(before, event)
        if self.state.blocked:
            raise Violation(f"S0: a ledger that was never restored calls itself old: {self.state.blocked}")
        one_at_a_time(before, self.state)
        remembers_flips(self.state)
        self.required |= {r.epoch: r.required for r in (self.state.active, self.state.last) if r}
        for output in outputs:
            if not isinstance(output, Alarm):
                self.send(output)

    def restart(self) -> None:
        """A coordinator starts from what was saved, and reads the config."""
        saved = replace(self.state, ended=())
        self.state = environments.load(environments.dump(saved))
        assert self.state == saved
        self.feed(MembersConfigured(self.now, dict(self.config), follow=True))

    def tick(self, passed: timedelta) -> None:
        """Time passes."""
        self.now += passed
        self.feed(Tick(self.now, self.fresh()))

    def request(self, cause: Cause, release: int, systems: frozenset[str]) -> None:
        """Somebody asks for a release; `systems` narrows down who takes part (empty: everybody)."""
        every = frozenset(n for n, m in self.state.members.items() if m.requirement is Requirement.REQUIRED)
        chosen = systems or frozenset(self.state.members)
        required = every & chosen or every
        rollout = Rollout(
            id=self.fresh(),
            release=release,
            cause=cause,
            by="o",
            reason="",
            requested_at=self.now,
            required=required,
            optional=chosen - every,
            expected={name: Expected(f"c{release}", "m") for name in required | chosen},
            timing=TIMING,
        )
        self.feed(Requested(self.now, rollout))

    def fresh(self) -> str:
        """An id."""
        self._ids += 1
        return f"x{self._ids}"

    # The post

    def send(self, message: Command | Report) -> None:
        """A message is under way."""
        for messages in (self.post, self.sent):
            if message not in messages:
                messages.append(message)

    def deliver(self, message: Command | Report, *, dies: bool = False, refuses: RefusalReason | None = None) -> None:
        """A message arrives, perhaps again. `dies`: its member does, before it reports, and will find it again."""
        if isinstance(message, Report):
            self.forget(message)
            self.feed(replace(message, at=self.now, fresh_id=self.fresh()))
        elif self.sites[message.member].up:
            if not dies:
                self.forget(message)
            self._receive(self.sites[message.member], message, dies, refuses)

    def forget(self, message: Command | Report) -> None:
        """A message has arrived, or is lost."""
        if message in self.post:
            self.post.remove(message)

    # Members

    def crash(self, name: str) -> None:
        """Loads are lost; the row stays."""
        site = self.sites[name]
        site.up, site.loaders = False, []

    def start(self, name: str) -> None:
        """A member comes back, or reconnects, and says hello."""
        site = self.sites[name]
        site.up = True
        self.send(self._report(site, Reply(ReplyKind.HELLO), None))

    def load_on(self, name: str, loader: Loader, *, at_once: bool = True, wrong: bool = False) -> None:
        """A loader's next transaction: its first batch, which tears the slot, or its commit (`at_once`: the only)."""
        site, load = self.sites[name], loader.load
        if not loader.wrote and not at_once:
            torn = table.tear(site.row, load)
            if torn is None:
                site.loaders.remove(loader)
            else:
                site.row, site.contents[load.slot], loader.wrote = torn, load.token, True
            return
        site.loaders.remove(loader)
        certificate = WRONG if wrong else f"c{loader.release}"
        held = identity(loader.release)
        whole = table.complete_load(site.row, load, identity=held, manifest=None, certificate=certificate)
        if whole is None:
            return
        alone = site.contents[load.slot] == load.token or not loader.wrote
        site.row, site.contents[load.slot] = whole, (WRONG if wrong else loader.release) if alone else MIXED
        if not load.settles and not wrong:
            site.staged.add(load.epoch)
        self.send(self._report(site, Reply(ReplyKind.SETTLED if load.settles else ReplyKind.STAGED), load))

    def fail(self, name: str, loader: Loader, reason: RefusalReason) -> None:
        """A load ends with an error."""
        site = self.sites[name]
        site.loaders.remove(loader)
        self.send(self._report(site, Reply(ReplyKind.REFUSED, reason), loader.load))

    def _receive(self, site: Site, command: Command, dies: bool, refuses: RefusalReason | None) -> None:
        if refuses:
            self.send(self._report(site, Reply(ReplyKind.REFUSED, refuses), command))
            return
        before, target = site.row, None
        if isinstance(command, Stage | Settle):
            target = identity(command.release)
            settled = command.epoch in (before.staged_epoch, before.flipped_epoch) or table.refusal(before, command)
            if not settled and table.holds(before.shadow, target) and before.shadow.certificate == WRONG:
                before = table.distrust(before)
        now = self.now + site.ahead
        outcome = table.answer(before, command, target=target, token=self.fresh(), now=now)
        if outcome.row != site.row and is_over(site.row, command):
            raise Violation(f"S3: {brief(command)} changed its row, whose floor was {site.row.floor}")
        site.row = row = outcome.row
        if row.staged_epoch and row.staged_slot and row.slots[row.staged_slot].certificate != WRONG:
            site.staged.add(row.staged_epoch)
        if row.flipped_epoch is not None and row.flipped_epoch != before.flipped_epoch:
            self._may_flip(command.member, row.flipped_epoch)
        match outcome.action:
            case Load() as load:
                site.loaders = [
                    *site.loaders[-1:],
                    Loader(load, command.release if isinstance(command, Stage | Settle) else 0),
                ]
            case Wait():
                self.send(command)
            case Reply(reason=RefusalReason.NO_PREVIOUS):
                raise Violation(f"S5: {command.member} has no way back for {brief(command)}")
            case Reply() as reply if not dies:
                self.send(self._report(site, reply, command))
        if dies:
            self.crash(command.member)

    def _report(self, site: Site, reply: Reply, to: Command | Load | None) -> Report:
        row = site.row
        epoch, rollout_id = (to.epoch, to.rollout_id) if to else (row.floor, row.floor_id)
        shows = row.online.identity.release if row.online.identity else 0
        head = (self.now, row.system, epoch, rollout_id, row.floor, shows, row.shadow.release, Clock(0, 0), "")
        match reply.kind:
            case ReplyKind.STAGED:
                certificate = row.slots[row.staged_slot].certificate if row.staged_slot else ""
                return Staged(*head, certificate=certificate or "c0", mapping="m")
            case ReplyKind.FLIPPED:
                return Flipped(*head, flipped_at=row.flipped_at or self.now)
            case ReplyKind.REVERTED:
                return Reverted(*head)
            case ReplyKind.REFUSED:
                assert reply.reason is not None
                return Refused(*head, reason=reply.reason, text=reply.text)
            case ReplyKind.HELLO:
                return Hello(*head, flipped_epoch=row.flipped_epoch)
            case ReplyKind.SETTLED:
                return Settled(*head)

    # What must hold

    def _may_flip(self, name: str, epoch: int) -> None:
        """S1: every required member has staged under this epoch, and stored what it should."""
        for other in sorted(self.required[epoch]):
            if epoch not in self.sites[other].staged:
                raise Violation(f"S1: {name} flips under epoch {epoch}, but {other} never staged under it")

    def check(self) -> None:
        """The invariants of a state."""
        state = self.state
        unsettled = state.active is not None and state.active.state in _UNSETTLED
        for name, site in self.sites.items():
            row = site.row
            if not row.online.intact or site.shows != row.online.release:
                raise Violation(f"S4: readers of {name} see {site.shows}, its row says {row.online.release}")
            decides = state.members[name].requirement is Requirement.REQUIRED
            if decides and not unsettled and site.shows != state.shown:
                raise Violation(f"S2: {name} shows {site.shows}, the environment {state.shown}")
            if unsettled and state.active and row.flipped_epoch == state.active.epoch:
                back = site.contents[row.back_slot] if row.back_slot else None
                if name in state.active.required and back != state.active.from_release:
                    raise Violation(f"S5: {name} would go back to {back}, not to {state.active.from_release}")
            if row.flipped_epoch in state.void and (row.staged_epoch is not None or row.shadow.token):
                raise Violation(f"S7: {name} stages beside a release that was withdrawn")

    # With nothing lost any more

    def arrive(self, kinds: tuple[type, ...], members: str) -> None:
        """All that is under way of some kinds, from or to some members, arrives; loads of these go on to their end."""
        for message in list(self.post):
            if isinstance(message, kinds) and message.member in members:
                self.deliver(message)
        for name in members:
            for loader in list(self.sites[name].loaders):
                self.load_on(name, loader)
