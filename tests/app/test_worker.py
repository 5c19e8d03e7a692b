"""One thread, many jobs: turns are taken, and nobody disturbs anybody.

A cancelled job is gone at once.
"""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from conftest import PROMPTS

from app.answering import answer
from app.job import BEHIND_SECONDS, LATER, READING, Behind, Job, Kind, Waiting
from app.session import Progress, Question
from app.worker import OTHERS_AT_ONCE, SHARE, Worker
from atmoe import AtMoeError, Override, Sampling, State, Steering
from atmoe.answer import pieces
from atmoe.answer.batching import Batching
from atmoe.answer.engine import Engine
from atmoe.answer.remembered import Remembered
from atmoe.errors import ClosingError, PromptError
from atmoe.explanation.coherence import coherence
from atmoe.record import AGAIN


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def test_all_steps_are_made_on_one_other_thread(worker):
    threads = set(worker.run(Job(threading.get_ident() for _ in range(3))))
    threads.add(worker.call(threading.get_ident))
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_jobs_take_turns(worker):
    made, begun, gate = [], threading.Event(), threading.Event()

    def hold():
        begun.set()
        yield gate.wait(10)

    def log(name):
        return (made.append(name) for _ in range(3))

    def start(run):
        return threading.Thread(target=list, args=(run,), daemon=True)

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

    def jobs():
        return [
            Job(answer(batch, Question(prompt, Sampling(12)), how), Kind.ANSWER)
            for prompt, how in (
                ("How is asthma treated?", Steering()),
                ("Explain gout, please.", steering),
            )
        ]

    alone = [list(worker.run(job))[-1].record.answer_tokens for job in jobs()]
    together = zip(*itertools.zip_longest(*(worker.run(job) for job in jobs())))
    assert [
        [step for step in steps if step is not None][-1].record.answer_tokens for steps in together
    ] == alone


def test_the_steered_answer_starts_from_the_routers_plan(worker, model):
    question, steering = (
        Question("How is asthma treated?", Sampling(12)),
        Steering((Override("task", State.OFF),)),
    )
    steered = list(worker.run(Job(answer(Batching(model), question, steering))))[-1]
    first = list(worker.run(Job(answer(Batching(model), question, Steering()))))[-1]
    assert steered.record.router_plan.close_to(first.record.plan)
    assert steered.record.plan.close_to(steering.apply(first.record.plan))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_an_ended_answer_is_scored_under_its_own_plan(worker, model, prompt):
    *unfinished, last = worker.run(
        Job(answer(Batching(model), Question(prompt, Sampling(12)), Steering()))
    )
    assert last.ended and not any(progress.ended or progress.whole for progress in unfinished)
    try:
        logp = pytest.approx(
            float(model.score(prompt, last.record.answer, [last.record.plan]).mean())
        )
    except AtMoeError:  # nothing to score in it
        logp = None
    assert (last.whole and last.whole.logp) == logp and last.opening == last.whole


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


class Clock:
    """A clock that only the steps of jobs move on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def steps(self, name, seconds, count, log):
        for _ in range(count):
            self.now += seconds
            log.append((name, seconds))
            yield name


def all_at_once(worker, *jobs):
    """Give a worker these jobs while it is held, then read each on a thread of its own.

    Ends when all have ended.
    """
    held, go = threading.Event(), threading.Event()
    hold = threading.Thread(
        target=worker.call, args=(lambda: held.set() or go.wait(10), True), daemon=True
    )
    hold.start()
    assert held.wait(10)
    for job in jobs:
        worker.give(job)
    go.set()
    read = [[] for _ in jobs]
    threads = [
        threading.Thread(target=lambda job=job, steps=steps: steps.extend(job.read()), daemon=True)
        for job, steps in zip(jobs, read)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return read


@pytest.mark.parametrize("seconds", [0.3, 0.02])
def test_while_answers_stream_other_work_has_a_tenth_of_the_time_and_afterwards_all(seconds):
    clock, log = Clock(), []
    worker = Worker(clock=clock)
    answers = [Job(clock.steps(name, 0.05, 400, log), Kind.ANSWER) for name in "ab"]
    all_at_once(worker, Job(clock.steps("explanation", seconds, 500, log)), *answers)
    end = max(i for i, (name, _) in enumerate(log) if name != "explanation")
    spent = {
        kind: sum(s for name, s in log[:end] if (name == "explanation") is kind)
        for kind in (True, False)
    }
    assert spent[True] / (spent[True] + spent[False]) == pytest.approx(SHARE, abs=0.02)
    assert [name for name, _ in log[end + 1 :]] == ["explanation"] * (
        500 - round(spent[True] / seconds)
    )
    stalls = [
        len(list(run))
        for name, run in itertools.groupby(log[:end], lambda step: step[0])
        if name == "explanation"
    ]
    assert max(stalls) == 1  # never two steps between two tokens


def test_other_work_saves_up_no_time_while_nobody_asked_for_it():
    clock, log = Clock(), []
    worker = Worker(clock=clock)
    all_at_once(worker, Job(clock.steps("a", 1.0, 100, log), Kind.ANSWER))
    log.clear()
    all_at_once(
        worker,
        Job(clock.steps("a", 0.05, 100, log), Kind.ANSWER),
        Job(clock.steps("other", 0.05, 100, log)),
    )
    assert [name for name, _ in log[:100]].count("other") <= 12


def test_who_finds_no_place_waits_in_order_and_is_told(model):
    clock, log = Clock(), []
    worker = Worker(answers_at_once=2, clock=clock)
    counts = (4, 8, 3, 3, 3)
    read = all_at_once(
        worker,
        *(
            Job(clock.steps(name, 0.05, count, log), Kind.ANSWER)
            for name, count in zip("abcde", counts)
        ),
    )
    told = [[step.before for step in steps if isinstance(step, Waiting)] for steps in read]
    assert told[0] == [] and told[2:] == [[1, 0], [2, 1, 0], [3, 2, 1, 0]]
    assert [[step for step in steps if not isinstance(step, Waiting)] for steps in read] == [
        [n] * c for n, c in zip("abcde", counts)
    ]
    begun = list(dict.fromkeys(name for name, _ in log))
    assert begun == list("abcde")
    spans = {name: [i for i, (other, _) in enumerate(log) if other == name] for name in "abcde"}
    assert all(sum(s[0] <= i <= s[-1] for s in spans.values()) <= 2 for i in range(len(log)))


def test_whoever_came_first_begins_first_though_another_was_given_sooner(model):
    clock, log = Clock(), []
    worker = Worker(answers_at_once=1, clock=clock)
    came = {"a": 1.0, "b": 4.0, "c": 2.0, "d": 2.0, "e": 3.0}
    jobs = (Job(clock.steps(n, 0.05, 3, log), Kind.ANSWER, at) for n, at in came.items())
    all_at_once(worker, *jobs)
    assert list(dict.fromkeys(name for name, _ in log)) == list("acdeb")


@pytest.mark.parametrize("steps", [iter(()), (1 / n for n in (1, 0)), itertools.count()])
def test_whoever_hears_of_a_jobs_end_finds_it_over(worker, steps):
    job = Job(n for n in steps)
    with suppress(ZeroDivisionError):
        for _ in worker.run(job):
            job.cancel()
    assert job.over


def test_only_one_answer_begins_in_a_round():
    clock, log = Clock(), []
    worker = Worker(clock=clock)
    all_at_once(worker, *(Job(clock.steps(name, 0.05, 5, log), Kind.ANSWER) for name in "abc"))
    assert "".join(name for name, _ in log[:6]) == "aababc"


def test_whoever_waits_and_is_cancelled_is_gone_before_its_turn(worker):
    gate, log = threading.Event(), []
    blocked = [Job((gate.wait(10) for _ in range(3)), Kind.ANSWER) for _ in range(1)]
    worker._answers.places = 1
    late = Job((log.append("late") for _ in range(3)), Kind.ANSWER)
    for job in (*blocked, late):
        worker.give(job)
    reader = worker.run(
        late, waiting=True
    )  # given twice: a cancelled job ends for whoever reads it
    late.cancel()
    gate.set()
    assert list(reader) in ([], [Waiting(0)]) and not log


def test_a_reader_that_waits_is_told_again_so_that_it_can_be_closed(worker, monkeypatch):
    """Gradio cannot close a generator that is asked for its next value."""
    monkeypatch.setattr("app.job.STILL_SECONDS", 0.01)
    worker._answers.places = 1
    first = worker.run(Job(itertools.count(), Kind.ANSWER))
    next(first)
    second = worker.run(job := Job(itertools.count(), Kind.ANSWER), waiting=True)
    assert [next(second) for _ in range(3)] == [Waiting(0)] * 3
    second.close()
    assert job.cancelled
    first.close()
    assert (
        worker.call(lambda: "free") == "free"
        and not worker._answers.waiting
        and not worker._answers.under_way
    )


def test_an_answer_is_measured_without_being_read_again(model, monkeypatch):
    measured = {}
    for sampling in (Sampling(20, temperature=1.5), Sampling(30, temperature=1.0, seed=2)):
        question = Question(PROMPTS[1], sampling)
        with monkeypatch.context() as patch:
            patch.setattr(model, "score_tokens", None)
            *_, last = answer(Batching(model), question, Steering(), opening_tokens=8)
        measured[last.record] = last.whole, last.opening
    for record, (whole, opening) in measured.items():
        assert whole.logp == pytest.approx(record.mean_logp(model, [record.plan])[0], abs=1e-4)
        for found, tokens in ((whole, 100), (opening, 8)):
            want = coherence(model, record, tokens)
            assert (found.repeated, found.tokens) == (want.repeated, want.tokens)
            assert found.logp == pytest.approx(want.logp, abs=1e-4)


def test_what_an_answer_leaves_for_later_is_other_work_and_frees_its_place():
    clock, log = Clock(), []
    worker = Worker(answers_at_once=1, clock=clock)

    def scored():
        yield from clock.steps("a", 0.05, 3, log)
        yield LATER
        yield from clock.steps("score", 1.0, 2, log)

    read = all_at_once(
        worker, Job(scored(), Kind.ANSWER), Job(clock.steps("b", 0.05, 300, log), Kind.ANSWER)
    )
    assert read[0] == ["a"] * 3 + ["score"] * 2
    names = [name for name, _ in log]
    assert (
        names[:4] == ["a", "a", "a", "b"]
        and names.index("b") < names.index("score")
        and names[-1] == "b"
    )


def test_while_one_answer_reads_its_question_others_go_on_and_none_begins():
    clock, log = Clock(), []
    worker = Worker(clock=clock)

    def answered(name):
        for _ in clock.steps(f"{name} reads", 0.1, 3, log):
            yield READING
        yield from clock.steps(name, 0.05, 2, log)

    read = all_at_once(
        worker,
        Job(clock.steps("going", 0.05, 20, log), Kind.ANSWER),
        Job(answered("a"), Kind.ANSWER),
        Job(answered("b"), Kind.ANSWER),
    )
    told = [[step for step in steps if not isinstance(step, Waiting)] for steps in read]
    assert told == [["going"] * 20, ["a"] * 2, ["b"] * 2]
    names = [name for name, _ in log]
    for name in ("a", "b"):
        first, second, last = (at for at, n in enumerate(names) if n == f"{name} reads")
        assert "going" in names[first:second] and "going" in names[second:last]
    assert names.index("b reads") > max(at for at, name in enumerate(names) if name == "a reads")


def test_a_question_that_is_half_read_is_given_up_at_once(model, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_SECONDS", 0.0)
    worker, batch = Worker(), Batching(model)
    job = Job(answer(batch, Question(PROMPTS[3], Sampling(400)), Steering()), Kind.ANSWER)
    begun = threading.Event()

    def cancelled(*given):
        begun.set()
        job.cancel()
        return through(*given)

    through = Engine.through
    monkeypatch.setattr(Engine, "through", cancelled)
    assert not list(worker.run(job)) and begun.is_set() and not batch.rows
    assert worker.call(lambda: batch._beginning) == 0
    # the next one has the place, and is read whole
    monkeypatch.setattr(Engine, "through", through)
    asked = Job(answer(batch, Question(PROMPTS[3], Sampling(8)), Steering()), Kind.ANSWER)
    assert list(worker.run(asked))[-1].ended
    worker.close()


def test_what_nobody_asked_for_waits_until_nobody_asks_for_anything():
    clock, log = Clock(), []
    worker = Worker(clock=clock)
    all_at_once(
        worker,
        Job(clock.steps("unasked", 0.05, 5, log), Kind.UNASKED),
        Job(clock.steps("other", 0.05, 50, log)),
        Job(clock.steps("answer", 0.05, 100, log), Kind.ANSWER),
    )
    names = [name for name, _ in log]
    assert len(names) == 155 and names[-5:] == ["unasked"] * 5


def test_many_questions_of_one_person_take_the_time_that_all_others_leave():
    clock, log = Clock(), []
    worker = Worker(clock=clock)
    all_at_once(
        worker,
        *(Job(clock.steps("many", 0.05, 20, log), Kind.MANY) for _ in range(5)),
        Job(clock.steps("unasked", 0.05, 5, log), Kind.UNASKED),
        Job(clock.steps("other", 0.05, 50, log)),
        Job(clock.steps("answer", 0.05, 100, log), Kind.ANSWER),
    )
    names = [name for name, _ in log]
    assert len(names) == 255 and names[-100:] == ["many"] * 100
    # One at a time, and a call comes between any two of their steps.
    going = Job(clock.steps("many", 0.05, 10**9, log), Kind.MANY)
    worker.give(going)
    assert worker.call(lambda: "at once") == "at once"
    going.cancel()


def test_who_has_a_place_is_told_what_is_made_first_where_that_takes_long():
    seconds, log, clock = BEHIND_SECONDS / 4, [], Clock()
    *_, many = all_at_once(
        Worker(clock=clock),
        Job(clock.steps("answer", seconds, 20, log), Kind.ANSWER),
        Job(clock.steps("other", seconds, 20, log)),
        Job(clock.steps("unasked", seconds, 20, log), Kind.UNASKED),
        Job(clock.steps("many", seconds, 2, log), Kind.MANY),
    )
    said = [step for step in many if not isinstance(step, Waiting)]
    whole = [Behind(Kind.ANSWER), Behind(Kind.OTHER), Behind(Kind.UNASKED), Behind(None)]
    assert said == [*whole, "many", "many"]
    # where others are soon done it hears of nobody
    *_, many = all_at_once(
        Worker(clock=clock),
        Job(clock.steps("answer", seconds, 3, log), Kind.ANSWER),
        Job(clock.steps("many", seconds, 2, log), Kind.MANY),
    )
    assert [step for step in many if not isinstance(step, Waiting)] == ["many", "many"]


def test_an_answer_interrupts_what_nobody_asked_for_after_one_step():
    clock, log, answers = Clock(), [], []
    worker = Worker(clock=clock)

    def unasked():
        for step in range(20):
            if step == 3:
                answers.append(Job(clock.steps("answer", 0.05, 30, log), Kind.ANSWER))
                worker.give(answers[0])
            log.append(("unasked", 0.05))
            yield step

    all_at_once(worker, Job(unasked(), Kind.UNASKED))
    names = [name for name, _ in log]
    assert names == ["unasked"] * 4 + ["answer"] * 30 + ["unasked"] * 16


def test_of_what_nobody_asked_for_everybodys_first_part_comes_first():
    clock, log = Clock(), []
    worker = Worker(clock=clock)

    def steps(name):
        yield from clock.steps(f"{name} first", 0.05, 3, log)
        yield LATER
        yield from clock.steps(f"{name} rest", 0.05, 3, log)

    all_at_once(worker, *(Job(steps(name), Kind.UNASKED) for name in "ab"))
    order = [name for name, _ in itertools.groupby(name for name, _ in log)]
    assert order == ["a first", "b first", "a rest", "b rest"]


def test_who_is_cancelled_under_way_is_gone_though_its_turn_never_comes():
    clock, log = Clock(), []
    worker = Worker(clock=clock)
    endless = Job((None for _ in itertools.count()), Kind.ANSWER)
    unasked = Job(clock.steps("unasked", 0.05, 10**9, log), Kind.UNASKED)
    read = unasked.read()
    worker.give(unasked)
    assert "unasked" in (next(read), next(read))
    worker.give(endless)
    unasked.cancel()
    try:
        assert set(read) <= {"unasked"}  # comes to its end while the answer goes on
    finally:
        endless.cancel()


def test_no_more_than_a_few_measure_at_once():
    clock, log = Clock(), []
    worker = Worker(clock=clock)
    count = OTHERS_AT_ONCE + 2
    read = all_at_once(worker, *(Job(clock.steps(name, 0.05, 4, log)) for name in range(count)))
    assert [name for name, _ in log[:OTHERS_AT_ONCE]] == list(range(OTHERS_AT_ONCE))
    waited = [step.before for step in read[-1] if isinstance(step, Waiting)]
    assert waited[:2] == [1, 0]


def test_a_short_call_waits_for_one_step_only(worker):
    answer_ = worker.run(Job(itertools.count(), Kind.ANSWER))
    others = [worker.run(Job(itertools.count())) for _ in range(OTHERS_AT_ONCE)]
    for run in (answer_, *others):
        next(run)
    assert worker.call(lambda: "now", short=True) == "now"
    for run in (answer_, *others):
        run.close()


def test_a_reader_that_leaves_frees_its_row(worker, model):
    batch = Batching(model)
    run = worker.run(
        Job(answer(batch, Question(PROMPTS[0], Sampling(200)), Steering()), Kind.ANSWER)
    )
    next(run), next(run)
    assert len(batch.rows) == 1
    run.close()
    worker.call(lambda: None)
    assert not batch.rows


def test_an_answer_asked_again_is_given_at_once_and_says_so(worker, model, monkeypatch):
    batch, known = Batching(model), Remembered()
    steering = Steering((Override("task", State.FIXED, 1.0),))

    def run(how, anew=False):
        question = Question(PROMPTS[1], Sampling(8), anew=anew)
        return list(worker.run(Job(answer(batch, question, how, known), Kind.ANSWER)))

    first = [run(how) for how in (Steering(), steering)]
    with monkeypatch.context() as none:
        none.setattr(batch, "beginning", lambda *args: 1 / 0)
        again = [run(how) for how in (Steering(), steering)]
    for once, twice in zip(first, again):
        [progress] = twice
        assert (
            progress.ended
            and (progress.whole, progress.opening) == (once[-1].whole, once[-1].opening)
            and progress.record.answer == once[-1].record.answer
        )
        assert (
            progress.record.plan.close_to(once[-1].record.plan)
            and progress.record.plan is not once[-1].record.plan
        )
        assert not progress.record.timings and progress.record.versions["engine"].endswith(AGAIN)
    assert len(run(Steering(), anew=True)) > 1
    other = list(
        worker.run(
            Job(
                answer(batch, Question(PROMPTS[1], Sampling(8)), Steering(), Remembered()),
                Kind.ANSWER,
            )
        )
    )
    assert len(other) > 1  # another person's


def test_an_answer_goes_by_those_to_its_question_before_and_is_the_same(model, monkeypatch):
    batch, steps, step = Batching(model), [], Engine.step
    batch.warm()
    monkeypatch.setattr(Engine, "step", lambda self, *about: steps.append(1) or step(self, *about))
    steering = Steering((Override(model.layout.group_names[0], State.FIXED, 0.4),))

    def run(how, question):
        steps.clear()
        *_, shown = (each for each in answer(batch, question, how) if isinstance(each, Progress))
        return shown.record.answer_tokens, len(steps)

    asked = Question(PROMPTS[0], Sampling(48), anew=True)
    own, needed = run(Steering(), asked)
    again, fewer = run(Steering(), asked)
    assert again == own and needed == len(own) - 1 + (len(own) < 48) and fewer < needed / 3
    steered, _ = run(steering, asked)
    assert steered == run(steering, Question(PROMPTS[0], Sampling(48)))[0]
    assert run(steering, asked)[0] == steered and len(asked.written) == 4


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
    reader = threading.Thread(
        target=lambda: seen.extend(worker.run(Job(n for n in itertools.count())))
    )
    reader.start()
    worker.close()
    reader.join(10)
    assert not reader.is_alive() and not worker._thread.is_alive()
    assert seen == list(range(len(seen)))


def test_idle_it_gives_memory_back_once_and_works_on(monkeypatch):
    given = []
    monkeypatch.setattr("app.worker.IDLE_SECONDS", 60)  # nothing before the first call is done
    monkeypatch.setattr(
        "app.worker.give_back_memory", lambda: given.append(threading.current_thread())
    )
    worker = Worker()

    def times() -> int:  # the workers of other tests may be idle as well
        return given.count(worker._thread)

    worker.call(lambda: monkeypatch.setattr("app.worker.IDLE_SECONDS", 0.05))
    deadline = time.monotonic() + 30
    while not times() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert times() == 1  # not again while nobody comes
    assert worker.call(lambda: 4) == 4
    worker.close()
    assert not worker.open


def test_whoever_is_far_back_is_told_at_every_tenth_and_the_last_few_at_each():
    job = Job(iter(()))
    for before in range(137, -1, -1):
        job.wait(before)
    told = []
    while not job._queue.empty():
        told.append(job._queue.get()[1].before)
    assert told == [137, *range(129, 20, -10), *range(20, -1, -1)]
    assert Waiting(0).told_again == 1 and Waiting(200).told_again > 10


def test_the_time_to_wait_is_the_pace_at_which_others_began():
    clock, log = Clock(), []
    worker = Worker(answers_at_once=1, clock=clock)
    jobs = [Job(clock.steps(name, 0.5, 4, log), Kind.ANSWER) for name in range(4)]
    read = all_at_once(worker, *jobs)
    # 4 steps of half a second each; nobody has been seen to begin before the first of them
    assert read[1][0] == Waiting(0)
    waited = [step for step in read[3] if isinstance(step, Waiting)]
    assert [step.before for step in waited] == [2, 1, 0] and waited[0].seconds is None
    assert waited[1].seconds == pytest.approx(4.0, abs=1.1)
    assert waited[2].seconds == pytest.approx(2.0, abs=0.6)


def test_when_it_finishes_what_has_begun_goes_on_and_who_waits_is_told():
    gate, begun = threading.Event(), threading.Event()

    def answering(name):
        begun.set()
        for number in range(5):
            gate.wait(10)
            yield name, number

    worker, ends = Worker(answers_at_once=1), {}

    def read(name, kind):
        steps = []
        try:
            steps.extend(worker.run(Job(answering(name), kind)))
            ends[name] = steps
        except ClosingError as error:
            ends[name] = str(error)

    def start(name, kind):
        thread = threading.Thread(target=read, args=(name, kind))
        thread.start()
        return thread

    first = start("first", Kind.ANSWER)
    assert begun.wait(10)
    late = [start("second", Kind.ANSWER), start("unasked", Kind.UNASKED)]
    while worker._arrivals.qsize() < 2:
        time.sleep(0.01)
    finishing = threading.Thread(target=worker.finish, args=(60,))
    finishing.start()
    while worker._arrivals.qsize() < 3:
        time.sleep(0.01)
    later = start("later", Kind.OTHER)
    while worker._arrivals.qsize() < 4:
        time.sleep(0.01)
    gate.set()
    for thread in (first, *late, later, finishing):
        thread.join(30)
        assert not thread.is_alive()
    assert ends.pop("first") == [("first", number) for number in range(5)]
    assert ends.keys() == {"second", "unasked", "later"}
    assert all("restarted; ask again" in told for told in ends.values())
    assert not worker.open


def test_finishing_has_an_end_however_long_an_answer_would_be():
    worker, ended = Worker(), threading.Event()

    def endless():
        try:
            begun.set()
            yield from itertools.count()
        finally:
            ended.set()

    begun = threading.Event()
    reader = threading.Thread(target=lambda: list(worker.run(Job(endless(), Kind.ANSWER))))
    reader.start()
    assert begun.wait(10)
    began = time.monotonic()
    worker.finish(0.3)
    reader.join(10)
    assert 0.3 <= time.monotonic() - began < 10
    assert ended.is_set() and not reader.is_alive() and not worker.open
