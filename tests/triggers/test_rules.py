"""What the rules of triggers decide, and in which words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.rollout.state import Cause, Environment, RolloutState
from distributor.settings import EnvironmentSettings
from distributor.settings.desk import Trigger
from distributor.triggers.facts import Call, Facts, Memory, Newest, Tries, Unshown
from distributor.triggers.rules import FOLLOW, Verdict, could_not, decide, judge, rules_of
from distributor.triggers.wording import in_words, span
from tests.triggers.test_follow import rollout

NOW = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
SHOWS_811 = Environment("prod", shown=811)
SIX = datetime(2026, 11, 23, 5, tzinfo=UTC)


def rule(**more: Any) -> Trigger:
    return Trigger.model_validate({"name": "calm", "on": "change", **more})


def weekly(**more: Any) -> Trigger:
    return rule(name="weekly", on="schedule", cron="0 6 * * mon", timezone="Europe/Vienna", **more)


_NONE = Tries()
ERP = rule(name="erp-done", on="message")


def facts(state: Environment = SHOWS_811, *, made: float = 0.0, first: float | None = None, rows: int = 3) -> Facts:
    """Release 812 was made `made` seconds ago, the first that is not shown `first` seconds ago."""
    last_at = NOW - timedelta(seconds=made)
    first_at = NOW - timedelta(seconds=made if first is None else first)
    return Facts(state, Newest(812, last_at), Unshown(rows, first_at, last_at))


def asked(verdict: Verdict) -> str:
    assert verdict.ask is not None, verdict
    assert (verdict.ask.release, verdict.said) == (812, "")
    assert verdict.memory.decision == verdict.ask.because
    return verdict.ask.because


def waiting(verdict: Verdict) -> str:
    assert (verdict.ask, verdict.said, verdict.next_at) == (None, "", verdict.memory.until)
    return verdict.memory.waits


def test_auto_without_change_rules_asks_at_once() -> None:
    [at_once, other] = rules_of(settings(follow="auto", triggers=[weekly()]))
    assert (at_once.name, other.name) == (FOLLOW, "weekly")
    verdict = judge(at_once, facts(), NOW)
    assert asked(verdict) == "release 812 is new, asked for it at once"
    assert verdict.ask is not None
    assert (verdict.ask.cause, verdict.ask.by) == (Cause.AUTO, "follow")
    assert judge(at_once, facts(replace(SHOWS_811, pinned="pinned by ann")), NOW).by == "follow"
    assert rules_of(settings(triggers=[weekly()])) == (weekly(),)
    assert [r.name for r in rules_of(settings(follow="auto", triggers=[rule(quiet_period="4s")]))] == ["calm"]


def settings(**more: Any) -> EnvironmentSettings:
    given = [one.model_dump(exclude_none=True) for one in more.pop("triggers", [])]
    systems = {"crm": {"adapter": "sqlite", "url": "sqlite:///x"}}
    return EnvironmentSettings.model_validate({"systems": systems, "triggers": given, **more})


@pytest.mark.parametrize(
    ("conditions", "made", "first", "rows", "sentence"),
    [
        ({"quiet_period": "4s"}, 4.0, 60.0, 3, "waited 4 s for quiet, then asked for release 812"),
        ({"quiet_period": "4s"}, 3.0, 60.0, 3, "waits for quiet until 14:02:12 UTC"),
        ({"quiet_period": "4s", "max_delay": "5m"}, 1.0, 300.0, 3, "5 m after the first release that is not shown"
         " (max_delay = 5 m), asked for release 812"),
        ({"quiet_period": "4s", "max_delay": "5m"}, 1.0, 298.0, 3, "waits until 14:02:13 UTC at the latest"
         " (max_delay)"),
        ({"quiet_period": "1h", "max_rows": 5000}, 1.0, 9.0, 5120, "5,120 rows have changed (max_rows = 5,000),"
         " asked for release 812"),
        ({"max_rows": 5000}, 99.0, 999.0, 4999, "waits for 5,000 rows: 4,999 have changed so far"),
        ({}, 0.0, 0.0, 1, "release 812 is new, asked for it at once"),
    ],
)  # fmt: skip
def test_change_rules(conditions: dict[str, Any], made: float, first: float, rows: int, sentence: str) -> None:
    verdict = judge(rule(**conditions), facts(made=made, first=first, rows=rows), NOW)
    assert (asked(verdict) if verdict.ask else waiting(verdict)) == sentence


def test_a_change_rule_has_nothing_to_do_where_nothing_lags_or_nothing_is_followed() -> None:
    for state in (
        replace(SHOWS_811, shown=812),
        replace(SHOWS_811, queue=(rollout(812, Cause.TRIGGER),)),
        replace(SHOWS_811, follow=False),
    ):
        verdict = judge(rule(quiet_period="4s"), facts(state, made=60), NOW)
        assert (verdict.ask, verdict.said, verdict.memory) == (None, "", Memory())


def test_a_pin_is_said_once_and_not_for_every_release() -> None:
    pinned = replace(SHOWS_811, pinned="rolled back to release 810 by ann")
    first = judge(rule(), facts(pinned), NOW)
    assert (first.ask, first.said) == (None, "new releases are not asked for: rolled back to release 810 by ann")
    later = replace(facts(pinned), newest=Newest(813, NOW), memories={"calm": first.memory})
    again = judge(rule(), later, NOW + timedelta(hours=1))
    assert (again.ask, again.said, again.memory) == (None, "", first.memory)
    lifted = judge(rule(), replace(facts(replace(SHOWS_811, shown=812)), memories={"calm": first.memory}), NOW)
    assert not lifted.memory.refused
    assert judge(rule(), replace(later, memories={"calm": lifted.memory}), NOW).said


@pytest.mark.parametrize(
    ("state", "tries", "sentence"),
    [
        (replace(SHOWS_811, barred=frozenset({812})), Tries(), "release 812 was flipped back here"),
        (SHOWS_811, Tries(1, called_off=True), "an operator called its rollout off"),
        (replace(SHOWS_811, last=rollout(810, Cause.OPERATOR, NOW)), Tries(), "anna deployed release 810 when"),
        (replace(SHOWS_811, pinned="pinned by ann"), Tries(), "pinned by ann"),
        (replace(SHOWS_811, blocked="mixed"), Tries(), "mixed"),
    ],
)
@pytest.mark.parametrize("which", ["change", "schedule", "call"])
def test_what_stops_one_trigger_stops_all(which: str, state: Environment, tries: Tries, sentence: str) -> None:
    known = replace(
        facts(state, made=60),
        tries=tries,
        memories={"weekly": seen(SIX - timedelta(days=1))},
        calls={"erp-done": (Call("c1", "erp", "prices are in"),)},
    )
    verdict = judge({"change": rule(), "schedule": weekly(), "call": ERP}[which], known, NOW)
    assert verdict.ask is None
    assert sentence in verdict.said
    assert ("not asked for" in verdict.said, verdict.memory.refused) == (True, True)


def test_a_release_that_was_tried_in_vain_is_asked_for_again_after_the_pause() -> None:
    again_at = NOW + timedelta(seconds=10)
    known = replace(facts(made=60), tries=Tries(2, again_at=again_at))
    verdict = judge(rule(quiet_period="4s"), known, NOW)
    assert waiting(verdict) == "release 812 was tried twice in vain; it is asked for again from 14:02:21 UTC on"
    assert verdict.next_at == again_at
    assert asked(judge(rule(), known, again_at)) == "release 812 was tried twice in vain, asked for it again"


def seen(at: datetime) -> Memory:
    return Memory(seen=at, schedule="schedule `0 6 * * mon` (Europe/Vienna)")


def on_monday(state: Environment = SHOWS_811, last: datetime = SIX - timedelta(days=1), **more: Any) -> Facts:
    return replace(facts(state), memories={"weekly": seen(last)}, **more)


def test_a_schedule_asks_when_it_comes_whatever_the_environment_follows() -> None:
    now = SIX + timedelta(milliseconds=20)
    verdict = judge(weekly(), on_monday(replace(SHOWS_811, follow=False)), now)
    assert asked(verdict) == "schedule `0 6 * * mon` (Europe/Vienna) came at 06:00, asked for release 812"
    assert verdict.ask is not None
    assert (verdict.ask.cause, verdict.ask.by) == (Cause.TRIGGER, "trigger weekly")
    assert verdict.next_at == SIX + timedelta(days=7)


def test_a_schedule_comes_to_nothing_in_a_sentence() -> None:
    verdict = judge(weekly(), on_monday(replace(SHOWS_811, shown=812)), SIX)
    came = "schedule `0 6 * * mon` (Europe/Vienna) came at 06:00"
    assert verdict.said == f"{came}; release 812 is shown already: nothing to do"
    queued = replace(SHOWS_811, queue=(rollout(812, Cause.AUTO),))
    assert judge(weekly(), on_monday(queued), SIX).said == f"{came}; release 812 is on its way already: nothing to do"
    nothing = Facts(SHOWS_811, memories={"weekly": seen(SIX - timedelta(days=1))})
    assert judge(weekly(), nothing, SIX).said == f"{came}; there is no release yet: nothing to do"


def test_a_new_schedule_does_not_make_up_for_what_came_before_it() -> None:
    first = judge(weekly(), facts(), NOW)
    assert (first.ask, first.said, first.memory.seen, first.memory.decision) == (
        None, "", NOW, "looked after since 14:02:11 UTC",
    )  # fmt: skip
    changed = weekly().model_copy(update={"cron": "0 7 * * mon"})
    known = on_monday(last=SIX - timedelta(days=30))
    assert judge(changed, known, NOW).ask is None
    assert judge(changed, known, NOW).memory.seen == NOW


def test_a_schedule_that_was_missed_is_made_up_for_once() -> None:
    late = judge(weekly(), on_monday(), SIX + timedelta(hours=3, minutes=2))
    assert asked(late) == (
        "schedule `0 6 * * mon` (Europe/Vienna) came at 2026-11-23 06:00, and no coordinator looked until 3 h 2 m"
        " later, asked for release 812"
    )
    thrice = judge(weekly(), on_monday(last=SIX - timedelta(days=15)), SIX)
    assert asked(thrice) == (
        "schedule `0 6 * * mon` (Europe/Vienna) came 3 times while no coordinator looked, last at 2026-11-23 06:00:"
        " once for all, asked for release 812"
    )
    after = replace(on_monday(), memories={"weekly": thrice.memory}, tries=Tries(1, again_at=SIX + timedelta(days=1)))
    assert judge(weekly(), after, SIX + timedelta(minutes=5)).ask is None


def test_what_a_schedule_asked_for_is_asked_for_until_it_is_shown() -> None:
    fired = judge(weekly(), on_monday(), SIX).memory
    assert (fired.wants, fired.release) == ("schedule `0 6 * * mon` (Europe/Vienna) came at 06:00", 812)

    def look(state: Environment, tries: Tries = _NONE) -> Verdict:
        return judge(weekly(), replace(facts(state), memories={"weekly": fired}, tries=tries), NOW)

    assert look(replace(SHOWS_811, active=rollout(812, Cause.TRIGGER))).memory == fired
    assert look(replace(SHOWS_811, shown=812)).memory.wants == ""
    soon = look(SHOWS_811, Tries(1, again_at=NOW + timedelta(seconds=5)))
    assert (soon.ask, soon.memory.wants) == (None, fired.wants)
    assert soon.memory.waits == "release 812 was tried once in vain; it is asked for again from 14:02:16 UTC on"
    again = look(SHOWS_811, Tries(1, again_at=NOW))
    assert asked(again) == f"{fired.wants}; release 812 was tried once in vain, asked for it again"
    assert again.memory.wants == fired.wants
    given_up = look(SHOWS_811, Tries(1, called_off=True))
    assert given_up.said == f"{fired.wants}; release 812 is not asked for: an operator called its rollout off"
    assert given_up.memory.wants == ""


def test_calls_are_answered_one_by_one() -> None:
    calls = (Call("c1", "erp", "prices are in"), Call("c2", "ann", "again"))
    first = judge(ERP, replace(facts(), calls={"erp-done": calls}), NOW)
    assert asked(first) == "erp called erp-done: prices are in, asked for release 812"
    assert first.ask is not None
    assert (first.call, first.ask.by, first.ask.cause, first.outcome) == ("c1", "erp", Cause.TRIGGER, first.ask.because)
    on_its_way = replace(SHOWS_811, queue=(rollout(812, Cause.TRIGGER),))
    second = judge(
        ERP, replace(facts(on_its_way), calls={"erp-done": calls[1:]}, memories={"erp-done": first.memory}), NOW
    )
    assert (second.call, second.by) == ("c2", "ann")
    assert second.outcome == "ann called erp-done: again; release 812 is on its way already: nothing to do"
    assert judge(ERP, replace(facts(), calls={"other": calls}), NOW).memory == Memory()


def test_a_request_that_could_not_be_made_is_remembered_and_made_later() -> None:
    before = Memory(fired_at=SIX)
    verdict = judge(ERP, replace(facts(), calls={"erp-done": (Call("c", "erp", "go"),)}), NOW)
    why, again_at = "release 812 cannot be asked for yet: store: away", NOW + timedelta(seconds=5)
    memory = could_not(verdict, before, why, again_at)
    assert (memory.fired_at, memory.waits, memory.until, memory.wants) == (
        SIX,
        why,
        again_at,
        "erp called erp-done: go",
    )
    known = replace(facts(), memories={"erp-done": memory}, tries=Tries(again_at=again_at, why=why))
    paused = judge(ERP, known, NOW)
    assert (paused.ask, paused.next_at) == (None, again_at)
    assert asked(judge(ERP, known, again_at)) == "erp called erp-done: go; asked for release 812 by now"


def test_a_memory_comes_back_from_the_ledger_as_it_was() -> None:
    full = Memory(
        "d",
        NOW,
        SIX,
        refused=True,
        waits="w",
        until=NOW,
        seen=SIX,
        schedule="s",
        wants="it came",
        by="ann",
        release=812,
    )
    for memory in (full, Memory(), seen(SIX)):
        assert Memory.of(memory.decision, memory.decided_at, memory.fired_at, memory.detail) == memory


def test_rules_in_words() -> None:
    assert in_words(rule()) == "at once, whenever there is a new release"
    assert in_words(rule(quiet_period="4s", max_delay="5m", max_rows=5000)) == (
        "when no release was made for 4 s, or 5 m after the first release that is not shown,"
        " or when 5,000 rows have changed"
    )
    assert in_words(weekly()) == "schedule `0 6 * * mon` (Europe/Vienna)"
    assert in_words(ERP) == "when it is called, by a message or by the API"
    lengths = [0.0004, 0.25, 1, 4.24, 59.96, 185, 7800, 259200]
    spans = ["0 ms", "250 ms", "1 s", "4.2 s", "1 m", "3 m 5 s", "2 h 10 m", "3 d"]
    assert [span(timedelta(seconds=seconds)) for seconds in lengths] == spans


_moments = st.integers(0, 1000)
_length = st.none() | st.integers(1, 500)


@given(
    quiet=_length,
    delay=_length,
    most=st.none() | st.integers(1, 1000),
    made=st.lists(_moments, min_size=1, max_size=8),
    each=st.integers(1, 300),
    more=st.integers(0, 600),
)
def test_neither_before_quiet_nor_after_the_longest_delay(
    quiet: int | None, delay: int | None, most: int | None, made: list[int], each: int, more: int
) -> None:
    """In milliseconds. The oracle goes by each release on its own, not by the first and the last of them."""
    lengths = {"quiet_period": quiet, "max_delay": delay}
    wanted = rule(max_rows=most, **{name: f"{length}ms" for name, length in lengths.items() if length is not None})
    times = [NOW + timedelta(milliseconds=one) for one in made]
    now = max(times) + timedelta(milliseconds=more)
    found = Facts(SHOWS_811, Newest(812, max(times)), Unshown(each * len(made), min(times), max(times)))
    verdict = judge(wanted, found, now)
    ages = [(now - one) / timedelta(milliseconds=1) for one in times]
    is_quiet = quiet is not None and all(age >= quiet for age in ages)
    is_late = delay is not None and any(age >= delay for age in ages)
    is_much = most is not None and each * len(made) >= most
    bare = (quiet, delay, most) == (None, None, None)
    assert (verdict.ask is not None) == (bare or is_quiet or is_late or is_much)
    if verdict.ask is None and (quiet, delay) != (None, None):
        assert verdict.next_at is not None
        assert verdict.next_at > now
        assert judge(wanted, replace(found, memories={"calm": verdict.memory}), verdict.next_at).ask is not None


@given(
    step=st.integers(1, 7200), start=st.datetimes(datetime(2026, 3, 27), datetime(2026, 4, 2)), looks=st.integers(1, 60)
)
def test_a_schedule_fires_once_for_each_time_or_once_for_all_missed(step: int, start: datetime, looks: int) -> None:
    """Over the spring gap: however often somebody looks, each time that has come is answered by exactly one look."""
    hourly = rule(name="weekly", on="schedule", cron="30 * * * *", timezone="Europe/Vienna")
    begun = start.replace(tzinfo=UTC)
    memory, answered = judge(hourly, facts(), begun).memory, 0
    state = replace(SHOWS_811, shown=812)
    for look in range(1, looks + 1):
        now = begun + timedelta(seconds=step * look)
        [verdict] = decide((hourly,), replace(facts(state), memories={"weekly": memory}), now)
        before = now - timedelta(seconds=step)
        due = _half_hours(before, now)
        assert bool(verdict.said) == bool(due)
        answered += due
        memory = verdict.memory
    assert answered == _half_hours(begun, begun + timedelta(seconds=step * looks))


def _half_hours(after: datetime, until: datetime) -> int:
    """How often a clock has shown half past: Vienna's is a whole number of hours off."""
    hour = 3600
    return int((until.timestamp() - 1800) // hour) - int((after.timestamp() - 1800) // hour)


def test_a_state_that_ended_is_no_hindrance_to_what_a_schedule_wants() -> None:
    ended = replace(SHOWS_811, last=replace(rollout(812, Cause.TRIGGER), state=RolloutState.ABANDONED))
    assert asked(judge(weekly(), on_monday(ended), SIX)).endswith("asked for release 812")
