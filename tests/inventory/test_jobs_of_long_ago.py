"""A site brings the accounting of a former year: its jobs are listed by any window, found by id, and told of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.accounting import accounting, printed, told
from tests.discovery.test_load import NOW, World

from qnib.inventory import jobs
from qnib.inventory.facts import LATELY
from qnib.model import Entity, Snapshot

pytestmark = pytest.mark.engine
EVER = datetime.fromtimestamp(0, UTC)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("accounting"))
    assert not made.load("slurm/sacct", printed(accounting()), NOW).refused
    yield made
    made.graph.close()
    made.engine.close()


@pytest.mark.parametrize(
    ("since", "until", "user"),
    [
        (EVER, NOW, ""),
        (EVER, datetime(2016, 12, 30, tzinfo=UTC), ""),
        (datetime(2016, 12, 31, 23, tzinfo=UTC), datetime(2017, 1, 1, tzinfo=UTC), ""),
        (datetime(2017, 1, 1, 12, tzinfo=UTC), NOW, ""),
        (datetime(2016, 12, 31, tzinfo=UTC), NOW, "honbu"),
        (datetime(2017, 6, 1, tzinfo=UTC), NOW, ""),
        (EVER, NOW, "nobody' OR 1"),
    ],
)
def test_the_jobs_of_a_window(world: World, since: datetime, until: datetime, user: str) -> None:
    wanted = told(since, until, user)
    found = jobs.ended(world.engine, "old", since, until, user=user, limit=10_000)
    assert {fact.key.partition("@")[0] for fact in found} == {number for number, _ in wanted}
    assert [fact.until for fact in found] == [end for _, end in wanted]
    few = jobs.ended(world.engine, "old", since, until, user=user, limit=7)
    assert [fact.key for fact in few] == [fact.key for fact in found[:7]], "of more, those that ended last"


def test_memory_has_forgotten_them(world: World) -> None:
    assert not world.facts.entities("old", "Job")
    assert world.facts.remembered("old", "Job") == world.clock.now() - LATELY


def test_a_job_by_its_id_or_its_key(world: World) -> None:
    (job,) = jobs.called(world.engine, "old", "165381")
    assert (job.properties["state"], job.properties["user"]) == ("TIMEOUT", "chaff")
    assert jobs.called(world.engine, "old", job.key) == [job]
    assert not jobs.called(world.engine, "old", "16538"), "no beginning of an id"
    assert not jobs.called(world.engine, "other", "165381")


def test_what_runs_again_has_not_ended(world: World) -> None:
    """A source says that jobs ended, and of one of them later that it goes on."""
    began = NOW - timedelta(days=30)
    over, later = began + timedelta(hours=1), began + timedelta(hours=2)

    def say(at: datetime, *entities: Entity) -> None:
        world.facts.apply("c", "slurm", at, Snapshot(list(entities), [], frozenset()))
        world.clock.advance(1)

    says = {"submit": began.isoformat()}
    say(began, Entity("Job", "1@1", {**says, "state": "RUNNING"}, since=began),
        Entity("Job", "2@1", {**says, "state": "RUNNING"}, since=began))  # fmt: skip
    say(over, Entity("Job", "1@1", {**says, "state": "NODE_FAIL"}, since=over, until=over),
        Entity("Job", "2@1", {**says, "state": "COMPLETED"}, since=over, until=over))  # fmt: skip
    both = jobs.ended(world.engine, "c", began, NOW, limit=10)
    assert {fact.key: fact.properties["state"] for fact in both} == {"1@1": "NODE_FAIL", "2@1": "COMPLETED"}
    say(later, Entity("Job", "1@1", {**says, "state": "RUNNING"}, since=later))
    assert [fact.key for fact in jobs.ended(world.engine, "c", began, NOW, limit=10)] == ["2@1"]
