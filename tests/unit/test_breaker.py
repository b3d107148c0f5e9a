"""The circuit breaker, step by step. ST-5."""

from __future__ import annotations

import pytest

from oauthbff.breaker import Circuit, State
from oauthbff.conf import Breaking

RULE = Breaking(failures=2, cooldown=10.0)

#: (what happens, at which second, the state and the seconds to wait after it), one row a story.
STORIES = [
    pytest.param([("fail", 0, "closed", 0)], id="one failure opens nothing"),
    pytest.param([("fail", 0, "closed", 0), ("fail", 1, "open", 10)], id="two in a row open"),
    pytest.param(
        [("fail", 0, "closed", 0), ("answer", 1, "closed", 0), ("fail", 2, "closed", 0)],
        id="an answer between two failures",
    ),
    pytest.param(
        [("fail", 0, "closed", 0), ("nothing", 1, "closed", 0), ("fail", 2, "open", 10)],
        id="what came to nothing between two failures is no answer",
    ),
    pytest.param(
        [
            ("fail", 0, "closed", 0),
            ("fail", 0, "open", 10),
            ("look", 4, "open", 6),
            ("look", 10, "half-open", 0),
            ("enter", 10, "half-open", 10),
            ("trial answers", 11, "closed", 0),
            ("fail", 12, "closed", 0),
        ],
        id="a trial that is answered closes, and the count begins anew",
    ),
    pytest.param(
        [
            ("fail", 0, "closed", 0),
            ("fail", 0, "open", 10),
            ("enter", 10, "half-open", 10),
            ("trial fails", 13, "open", 10),
            ("look", 22, "open", 1),
            ("enter", 23, "half-open", 10),
        ],
        id="a trial that fails opens for another cooldown",
    ),
    pytest.param(
        [
            ("fail", 0, "closed", 0),
            ("fail", 0, "open", 10),
            ("enter", 10, "half-open", 10),
            ("trial comes to nothing", 11, "half-open", 0),
            ("enter", 11, "half-open", 10),
        ],
        id="a trial that came to nothing lets the next one try",
    ),
    pytest.param(
        [
            ("fail", 0, "closed", 0),
            ("fail", 0, "open", 10),
            ("fail", 5, "open", 5),
            ("enter", 10, "half-open", 10),
            ("fail", 11, "half-open", 10),
        ],
        id="a call from before that fails late changes nothing",
    ),
    pytest.param(
        [("fail", 0, "closed", 0), ("fail", 0, "open", 10), ("answer", 5, "closed", 0)],
        id="a call from before that is answered late closes",
    ),
    pytest.param(
        [
            ("fail", 0, "closed", 0),
            ("fail", 0, "open", 10),
            ("enter", 10, "half-open", 10),
            ("answer", 10, "closed", 0),
            ("trial fails", 13, "closed", 0),
        ],
        id="a trial that fails after another was answered counts as one failure",
    ),
]


def step(circuit: Circuit, what: str, now: float) -> Circuit:
    match what:
        case "fail" | "trial fails":
            return circuit.failed(now, trial=what.startswith("trial"))
        case "answer" | "trial answers":
            return circuit.reached()
        case "nothing" | "trial comes to nothing":
            return circuit.came_to_nothing(trial=what.startswith("trial"))
        case "enter":
            assert circuit.wait(now) == 0
            return circuit.entered()
    return circuit


@pytest.mark.parametrize("story", STORIES)
def test_st5_the_circuit(story: list[tuple[str, float, str, float]]) -> None:
    circuit = Circuit(RULE)
    for what, now, state, wait in story:
        circuit = step(circuit, what, now)
        assert (circuit.state(now), circuit.wait(now)) == (State(state), wait), (what, now)


def test_st5_a_breaker_that_is_off_never_opens() -> None:
    circuit = Circuit(Breaking(failures=0))
    for now in range(1000):
        circuit = circuit.failed(now, trial=False)
    assert circuit.state(1000) is State.CLOSED
