"""One thread, many jobs: turns are taken, nobody disturbs anybody, and a cancelled job is gone at once."""

import itertools
import threading
import time

import pytest
from conftest import PROMPTS

from app.session import Question, answer
from app.worker import LATER, OTHERS_AT_ONCE, SHARE, Job, Kind, Waiting, Worker
from atmoe import AtMoeError, Override, Sampling, State, Steering
from atmoe.answers import AGAIN, Answers
from atmoe.batching import Batching
from atmoe.errors import PromptError


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_all_steps_are_made_on_one_other_thread(worker):
    threads = set(worker.run(Job(threading.get_ident() for _ in range(3))))
    threads.add(worker.call(threading.get_ident))
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_jobs_take_turns(worker):
    made, begun, gate = [], threading.Event(), threading.Event()

    def hold():
        begun.set()
        yield gate.wait(10)

    log = lambda name: (made.append(name) for _ in range(3))
    start = lambda run: threading.Thread(target=list, args=(run,), daemon=True)
    first, *others = (start(worker.run(Job(steps))) for steps in (hold(), log("a"), log("b")))
    first.start()
    assert begun.wait(10)  # the worker's thread is held, so both others must wait in its queue
    for thread in others:
        thread.start()
    for _ in range(1000):
        if worker._arrivals.qsize() == 2:
            break
        time.sleep(0.01)
    assert worker._arrivals.qsize() == 2 and not made
    gate.set()
    for thread in (first, *others):
        thread.join(10)
    assert sorted(made[:2]) == ["a", "b"] and sorted(made[2:4]) == ["a", "b"]


def test_two_answers_at_once_are_those_given_alone(worker, model):
    steering = Steering((Override("task", State.FIXED, 1.0),))
    batch = Batching(model)
    jobs = lambda: [Job(answer(batch, Question(prompt, Sampling(12)), how), Kind.ANSWER) for prompt, how in
                    (("How is asthma treated?", Steering()), ("Explain gout, please.", steering))]
    alone = [list(worker.run(job))[-1].record.answer_tokens for job in jobs()]
    together = zip(*itertools.zip_longest(*(worker.run(job) for job in jobs())))
    assert [[step for step in steps if step is not None][-1].record.answer_tokens for steps in together] == alone


def test_the_steered_answer_starts_from_the_routers_plan(worker, model):
    question, steering = Question("How is asthma treated?", Sampling(12)), Steering((Override("task", State.OFF),))
    steered = list(worker.run(Job(answer(Batching(model), question, steering))))[-1]
    first = list(worker.run(Job(answer(Batching(model), question, Steering()))))[-1]
    assert steered.record.router_plan.close_to(first.record.plan)
    assert steered.record.plan.close_to(steering.apply(first.record.plan))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_an_ended_answer_is_scored_under_its_own_plan(worker, model, prompt):
    *unfinished, last = worker.run(Job(answer(Batching(model), Question(prompt, Sampling(12)), Steering())))
    assert last.ended and not any(progress.ended or progress.logp for progress in unfinished)
    try:
        logp = pytest.approx(float(model.score(prompt, last.record.answer, [last.record.plan]).mean()))
    except AtMoeError:  # nothing to score in it
        logp = None
    assert last.logp == logp


def test_cancelling_frees_the_job_at_its_next_step(worker):
    closed, seen = threading.Event(), []

    def endless():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    job = Job(endless())
    for number in worker.run(job):
        seen.append(number)
        if number == 3:
            job.cancel()
    assert closed.wait(10) and len(seen) >= 4 and worker.call(lambda: "free") == "free"


def test_a_reader_that_leaves_cancels_the_job(worker):
    job = Job(n for n in itertools.count())
    for _ in worker.run(job):
        break
    assert job.cancelled and worker.call(lambda: "free") == "free"


def test_errors_reach_the_reader_and_the_thread_lives_on(worker, model):
    with pytest.raises(PromptError):
        worker.call(lambda: model.encode("   "))
    with pytest.raises(ZeroDivisionError):
        list(worker.run(Job(1 / n for n in (1, 0))))
    assert worker.call(lambda: 42) == 42


def test_a_job_is_claimed_once():
    job = Job(n for n in ())
    assert job.claim() and not job.claim()


def test_at_the_end_the_thread_ends_after_its_step_and_readers_come_to_an_end():
    worker, seen = Worker(), []
    reader = threading.Thread(target=lambda: seen.extend(worker.run(Job(n for n in itertools.count()))))
    reader.start()
    worker.close()
    reader.join(10)
    assert not reader.is_alive() and not worker._thread.is_alive()
    assert seen == list(range(len(seen)))
