"""One queue's lane: claims in batches, keeps a short buffer, and starts steps as slots come free."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from outlast._kernel.program import WORKFLOW
from outlast._model import Claim, Denied, Letter, Note
from outlast._runtime.committer import Committer
from outlast._runtime.events import Events
from outlast._runtime.executor import Executor
from outlast._runtime.patience import TRANSIENT, Patience
from outlast._runtime.residents import Residents
from outlast._runtime.rounds import wait_for_event
from outlast._runtime.run import Run
from outlast._runtime.suspects import Suspects
from outlast._store.contract import CRASHES_ANY, Claims, Journal, Signals
from outlast._world import World
from outlast.config import Queue

PREFETCH_MAX: Final = 1_000
"""No lane that measures for itself keeps more claims waiting than this."""
CLAIM_BYTES_MAX: Final = 256 * 1024 * 1024
"""No claim takes more instances than have this much state together, each at its largest."""
BUFFER_S_SHORT: Final = 0.05
"""A buffer used up faster than this was too small."""
BUFFER_S_LONG: Final = 0.2
"""A buffer that lasted longer than this was too large."""
HOLD_S: Final = 1.0
"""Claims that have waited this long for a slot are given back, for others to take."""
INLINE_STEPS: Final = 20
"""Steps that a run may take in one claim."""


class Lane:
    """Serves one queue.

    Args:
        queue: Its name.
        how: Its concurrency and prefetch.
        claims: Where work is taken.
        signals: Where the signals of claimed instances are read.
        journal: Where that is read which workflows have recorded.
        node: Under which id to claim; empty while nothing may be begun.
        known: "name@version" of what this process can run, asked at every claim.
        suspects: The one suspect that this process may hold.
        on_doubt: Called when a claim's reply was lost, so that what it took is looked for.
        on_clear: Called when a suspect is over, so that another lane may begin the next.
        on_denied: Called when a limit has denied claims: somebody must look at it again in time.
    """

    def __init__(
        self,
        queue: str,
        how: Queue,
        *,
        claims: Claims,
        signals: Signals,
        journal: Journal,
        executor: Executor,
        committer: Committer,
        node: Callable[[], str],
        known: Callable[[], list[str]],
        on_doubt: Callable[[], None],
        on_clear: Callable[[], None],
        on_denied: Callable[[], None],
        suspects: Suspects,
        grace_s: float,
        payload_bytes_max: int,
        poll_s: float,
        poll_s_max: float,
        events: Events,
        world: World,
    ) -> None:
        self.name = queue
        self._how = how
        self._claims = claims
        self._signals = signals
        self._journal = journal
        self._executor = executor
        self._suspects = suspects
        self._committer = committer
        self._node = node
        self._known = known
        self._on_doubt = on_doubt
        self._on_clear = on_clear
        self._on_denied = on_denied
        self._grace_s = grace_s
        self._claim_max = max(1, CLAIM_BYTES_MAX // payload_bytes_max)
        self._poll_s = poll_s
        self._poll_s_max = poll_s_max
        self._events = events
        self._world = world
        self._patience = Patience(f"lane {queue}", events, world)
        self._buffer: deque[Claim] = deque()
        self._running = 0
        self._prefetch = how.prefetch or 0
        self._took_at = 0.0
        self._rung = True
        self._more = False
        self._isolating = False
        self._fair_after: str | None = None
        self._takes = 0
        self._taking = False
        self._crowded = False  # there were suspects in the last claim that might hold any.
        self._wake = asyncio.Event()
        self._stopped = False
        self._stopping = asyncio.Event()

    def ring(self) -> None:
        """Work may have arrived."""
        self._rung = True
        self._wake.set()

    def holds(self) -> set[str]:
        """Ids that are claimed and not yet started."""
        return {claim.id for claim in self._buffer}

    def stop(self) -> None:
        """Claims and starts nothing any more, and gives back what was not started."""
        self._stopped = True
        self._stopping.set()
        self._wake.set()
        self.give_back()

    def drop(self, lost: set[str] | None = None) -> None:
        """Forgets claims that are not started and no longer ours: those named, or all."""
        gone = self.holds() if lost is None else lost & self.holds()
        if gone:
            self._acquit(gone)
            self._buffer = deque(claim for claim in self._buffer if claim.id not in gone)

    def hold(self, paused: set[str]) -> None:
        """Gives back claims of these that are not started: their instances are paused."""
        if back := [claim for claim in self._buffer if claim.id in paused]:
            self.drop(paused)
            self._release(back)

    def take_under_way(self) -> int | None:
        """The number of the claim that is being made and has not been accepted yet, or None."""
        return self._takes if self._taking else None

    def waiting(self) -> dict[str, int]:
        """Epochs of the claims that are not started, by id."""
        return {claim.id: claim.epoch for claim in self._buffer}

    async def run(self) -> None:
        """Claims, until stopped."""
        pause_s = self._poll_s
        while not self._stopped:
            if self._buffer:  # left there while nothing could be begun: who rings may say that it can be now.
                self.dispatch()
                self._release_when_old()
            if not (self._rung or self._more):
                timeout_s = pause_s * (1 - 0.2 * self._world.dice.random())
                if await wait_for_event(self._wake, min(timeout_s, HOLD_S) if self._buffer else timeout_s):
                    self._wake.clear()
                    if self._rung:
                        pause_s = self._poll_s
                else:
                    self._rung = True
                    pause_s = min(self._poll_s_max, pause_s * 2)
                continue
            demand = self._demand()
            if demand < 1:
                if self._events.wanted:
                    self._tell_saturated()
                await wait_for_event(self._wake, HOLD_S)
                self._wake.clear()
                continue
            self._rung = False
            self._takes, self._taking = self._takes + 1, True
            try:
                if await self._claim(demand):
                    pause_s = self._poll_s
            except Exception as error:
                self._taking = False
                await self._recover(error)
            finally:
                self._taking = False

    def _tell_saturated(self) -> None:
        self._events.emit(
            "lane.saturated",
            queue=self.name,
            running=self._running,
            buffered=len(self._buffer),
            concurrency=self._how.concurrency,
            prefetch=self._prefetch,
            unflushed=self._committer.unflushed,
        )

    async def _recover(self, error: Exception) -> None:
        """After an error that nobody expected: what is in hand goes back, what may be in the air is looked for."""
        self._events.emit("loop.failed", loop=f"lane {self.name}", error=f"{type(error).__name__}: {error}")
        self.give_back()
        self._on_doubt()
        self._more = True
        await wait_for_event(self._stopping, self._patience.next_s(error))

    def _demand(self) -> int:
        """How many to claim now; 0: not yet."""
        how = self._how
        if self._stopped or self._suspects.is_alone or not self._committer.has_room or not self._node():
            return 0
        demand = min(self._claim_max, how.concurrency - self._running + self._prefetch - len(self._buffer))
        if self._running == 0 and not self._buffer:
            return max(1, demand)
        return demand if demand >= min(max(how.min_demand, self._prefetch // 2, 1), self._claim_max) else 0

    async def _claim(self, limit: int) -> bool:
        if self._more and self._how.prefetch is None:
            self._measure()
        node = self._node()
        limit, crashes_max = self._bounds(limit)
        asks_for_suspects = crashes_max == CRASHES_ANY
        self._suspects.is_asked_for |= asks_for_suspects
        began = self._world.monotonic()
        try:
            taken = await self._claims.take(
                self.name, node, self._known(), limit, self._grace_s, crashes_max, self._fair_after
            )
            self._fair_after = taken.fair_after
            await hand_letters(self._signals, taken)
            await hand_notes(self._journal, taken, self._executor.kit.residents)
        except TRANSIENT as error:
            self._more = True
            self._on_doubt()
            await wait_for_event(self._stopping, self._patience.next_s(error))
            return False
        finally:
            if asks_for_suspects:
                self._suspects.is_asked_for = False
        self._patience.well()
        if self._stopped or self._node() != node:
            if taken:
                self._release(taken)
            return False
        self._more = taken.seen == limit
        if taken.denied:
            self._tell_denied(taken.denied)
        if asks_for_suspects:
            self._crowded = any(claim.crashes >= self._suspects.crashes for claim in taken)
        if taken:
            await self._accept(taken)
            if self._events.wanted:
                took_s = self._took_at - began
                self._events.emit("claim.stop", queue=self.name, count=len(taken), demand=limit, duration_s=took_s)
        return bool(taken)

    def _tell_denied(self, denied: Sequence[Denied]) -> None:
        self._on_denied()
        for gate, count in denied:
            kind, _, limit = gate.partition(":")
            if kind == "k":
                self._events.emit("concurrency.denied", queue=self.name, limit=limit, count=count)
            else:
                self._events.emit("rate.denied", queue=self.name, limit=limit, count=count)

    def _bounds(self, demand: int) -> tuple[int, int]:
        """How many to claim, and with how many crashes at most.

        While a suspect runs, others are left in the queue: claimed and given back again and again, they would keep
        everybody behind them waiting. When it is over, the next in line is claimed alone. One lane at a time asks for
        any: a suspect held for a moment beside another one would share its crash.
        """
        self._clear()  # what was given back comes with no word that it is.
        if self._suspects.are_asked_for:
            return (1 if self._crowded else demand), CRASHES_ANY
        return demand, self._suspects.crashes - 1

    async def _accept(self, taken: list[Claim]) -> None:
        back: list[Claim] = []
        if self._crowded:
            taken, back = self._without_suspects(taken)
        self._took_at = self._world.monotonic()
        self._buffer.extend(taken)
        if back:
            await self._isolate(back)
        self.dispatch()

    def _without_suspects(self, taken: list[Claim]) -> tuple[list[Claim], list[Claim]]:
        """Leaves one suspect at most, in this whole process. What to run, and the rest."""
        kept: list[Claim] = []
        back: list[Claim] = []
        for claim in taken:
            may_stay = claim.crashes < self._suspects.crashes or self._suspects.take(claim)
            (kept if may_stay else back).append(claim)
        return kept, back

    async def _isolate(self, others: list[Claim]) -> None:
        """Gives other suspects back, durably, before the one that is left may begin and end this process."""
        self._more = self._isolating = True
        try:
            claims = [(claim.id, claim.epoch) for claim in others]
            await self._patience.until_done(lambda: self._claims.release(claims))
        finally:
            self._isolating = False

    def _acquit(self, ids: set[str]) -> None:
        """Lets the next suspect begin when the last one is among these, as soon as that may be."""
        if self._suspects.end(ids):
            self._clear()

    def _clear(self) -> None:
        if self._suspects.is_over and self._suspects.clear(self._committer.holds()):
            self._on_clear()

    def dispatch(self) -> None:
        """Starts steps while there are slots and claims."""
        buffer, how = self._buffer, self._how
        if buffer and (self._stopped or self._isolating or not self._node()):
            return
        while buffer and self._running < how.concurrency and self._committer.has_room:
            if self._suspects.is_alone and not self._puts_suspect_first():
                break
            claim = buffer.popleft()
            self._running += 1
            if claim.id == self._suspects.id:
                self._suspects.begin()
            if not self._begin(claim):
                self._running -= 1
                self._acquit({claim.id})
        if (self._more or self._rung) and self._demand():
            self._wake.set()

    def _puts_suspect_first(self) -> bool:
        """Whether the suspect that is to be alone is here and may begin: when nothing runs, or that takes too long."""
        if self._executor.running and self._suspects.waits_for_quiet:
            return False
        suspect = next((claim for claim in self._buffer if claim.id == self._suspects.id), None)
        if suspect is None:
            return False
        self._buffer.remove(suspect)
        self._buffer.appendleft(suspect)
        return True

    def _begin(self, claim: Claim) -> bool:
        try:
            return self._executor.start(claim, self)
        except Exception as error:  # one that cannot be started must not cost the others their turn.
            self._events.emit("loop.failed", loop=f"lane {self.name}", error=f"{type(error).__name__}: {error}")
            self._release([claim])
            return False

    def may_go_on(self, run: Run) -> bool:
        """Whether a run may take another step at once.

        After some steps it goes round by the queue: others may wait for its slot, or for its key, and signals that were
        sent to it meanwhile are read with the next claim.
        """
        return run.steps < INLINE_STEPS and not self._stopped

    def freed(self, run: Run) -> None:
        """A run is over: its slot is free."""
        self._running -= 1
        if self._suspects.id is not None:
            self._acquit({run.claim.id})
            if self._suspects.is_alone and not self._executor.running:
                self._on_clear()  # it may wait in another lane.
        if not self._stopped:
            self.dispatch()

    def room(self) -> None:
        """The committer has room again."""
        self._clear()
        if not self._stopped:
            self.dispatch()

    def _measure(self) -> None:
        """Sizes the buffer by how long the last full claim lasted."""
        lasted_s = self._world.monotonic() - self._took_at
        if lasted_s < BUFFER_S_SHORT:
            self._prefetch = min(PREFETCH_MAX, max(self._prefetch * 2, self._how.concurrency))
        elif lasted_s > BUFFER_S_LONG:
            self._prefetch //= 2

    def _release_when_old(self) -> None:
        if self._how.prefetch is None and self._buffer and self._world.monotonic() - self._took_at > HOLD_S:
            self._prefetch = 0
            self._more = True
            self.give_back()

    def give_back(self) -> None:
        """Gives back what was claimed and not started."""
        if self._buffer:
            self._acquit(self.holds())
            self._release(self._buffer)
            self._buffer.clear()

    def _release(self, claims: Iterable[Claim]) -> None:
        self._committer.release([(claim.id, claim.epoch) for claim in claims], self.name)


async def hand_letters(signals: Signals, taken: Iterable[Claim]) -> None:
    """Gives claims the signals that their instances were sent and have not used up."""
    if not (addressed := {claim.id: claim for claim in taken if claim.mail}):
        return
    letters: dict[str, list[Letter]] = {}
    for letter in await signals.inbox(list(addressed)):
        letters.setdefault(letter.instance, []).append(letter)
    for id, found in letters.items():
        addressed[id].letters = found


async def hand_notes(journal: Journal, taken: Iterable[Claim], residents: Residents) -> None:
    """Gives claims of workflows what these have recorded; where their code has stayed in memory, the time left."""
    if not (begun := {claim.id: claim for claim in taken if claim.step == WORKFLOW and claim.commits}):
        return
    if len(residents):
        await _hand_time_left(journal, begun, residents)
    notes: dict[str, list[Note]] = {}
    if begun:
        for note in await journal.notes(list(begun)):
            notes.setdefault(note.instance, []).append(note)
    for id, found in notes.items():
        begun[id].notes = found


async def _hand_time_left(journal: Journal, begun: dict[str, Claim], residents: Residents) -> None:
    """Takes those whose code has stayed in memory out of `begun`: of them only the times are read."""
    waits: list[tuple[str, str]] = []
    stayed: dict[str, Claim] = {}
    for id, claim in list(begun.items()):
        if (timed := residents.waits(claim)) is not None:
            stayed[id], claim.left = begun.pop(id), {}
            waits += [(id, key) for key in timed]
    if waits:
        left: dict[str, dict[str, float]] = {}
        for id, key, seconds in await journal.left(waits):
            left.setdefault(id, {})[key] = seconds
        for id, found in left.items():
            stayed[id].left = found
