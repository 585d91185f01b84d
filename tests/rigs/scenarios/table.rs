//! The twenty scenarios.

use std::time::Duration;

use super::Step::{
    Activate, AskOnIdleConnections, Both, Crash, DockerComes, DockerGoes, Drain, FailHealthCheck,
    HandOverAddress, KillController, LoseNode, RemoveWithLongRequests, Scale, StartController,
    Storm, Update, UpdateWithWebSockets, Wait,
};
use super::{Again, Allowed, Scenario, Step};
use crate::agents::{Application, Start};
use crate::orchestrator::Order::{StartFirst, StopFirst};
use crate::orchestrator::Parallelism::{All, One};

const PLAIN: Application = Application::PLAIN;
const CHECKED: Application = Application { start: Start::Healthy, ..PLAIN };
const LATE: Application = Application { environment: &[("LISTEN_AFTER_MS", "2000")], ..PLAIN };
const ABRUPT: Application = Application { environment: &[("ON_SIGTERM", "exit")], ..CHECKED };
const STUBBORN: Application = Application {
    environment: &[("ON_SIGTERM", "ignore")],
    grace: Duration::from_secs(3),
    ..CHECKED
};

const ROLL: Step = Update(StartFirst, One);

/// What all of them have, unless they say otherwise.
const USUAL: Scenario = Scenario {
    letter: '?',
    name: "",
    replicas: 2,
    application: PLAIN,
    steps: &[],
    allowed: Allowed::Nothing,
    again: Again::WhileTimeIsLeft,
};

/// All of them, a to t.
pub const ALL: [Scenario; 20] = [
    Scenario {
        letter: 'a',
        name: "start-first update of 2 tasks",
        application: CHECKED,
        steps: &[ROLL],
        ..USUAL
    },
    Scenario {
        letter: 'b',
        name: "stop-first update of 3 tasks",
        replicas: 3,
        steps: &[Update(StopFirst, One)],
        ..USUAL
    },
    Scenario {
        letter: 'c',
        name: "start-first update of 1 task",
        replicas: 1,
        application: CHECKED,
        steps: &[ROLL],
        ..USUAL
    },
    Scenario {
        letter: 'd',
        name: "stop-first update of 1 task",
        replicas: 1,
        application: CHECKED,
        steps: &[Update(StopFirst, One), Wait(Duration::from_secs(1))],
        allowed: Allowed::WhileNobodyServes,
        ..USUAL
    },
    Scenario {
        letter: 'e',
        name: "scale from 10 to 2 tasks",
        replicas: 10,
        application: CHECKED,
        steps: &[Scale(2), Scale(10)],
        ..USUAL
    },
    Scenario {
        letter: 'f',
        name: "start-first update of 4 tasks at once",
        replicas: 4,
        application: CHECKED,
        steps: &[Update(StartFirst, All)],
        ..USUAL
    },
    Scenario {
        letter: 'g',
        name: "drain of a node that has 1 of 2 tasks",
        // The last two steps bring one task back to the node.
        steps: &[Drain("node-2"), Activate("node-2"), Scale(1), Scale(2)],
        ..USUAL
    },
    Scenario {
        letter: 'h',
        name: "crash of 1 of 3 tasks",
        replicas: 3,
        steps: &[Crash],
        allowed: Allowed::PostsUnderWay,
        ..USUAL
    },
    Scenario {
        letter: 'i',
        name: "1 of 3 running tasks turns unhealthy",
        replicas: 3,
        application: CHECKED,
        steps: &[FailHealthCheck],
        allowed: Allowed::PostsUnderWay,
        ..USUAL
    },
    Scenario {
        letter: 'j',
        name: "loss of a node that has 1 of 3 tasks",
        replicas: 3,
        steps: &[LoseNode(Duration::from_secs(15)), Wait(Duration::from_secs(5))],
        allowed: Allowed::SlowOnDeadConnections,
        again: Again::Never,
        ..USUAL
    },
    Scenario {
        letter: 'k',
        name: "2 more tasks that listen 2 s late",
        application: LATE,
        steps: &[Scale(4), Wait(Duration::from_secs(3)), Scale(2)],
        ..USUAL
    },
    Scenario {
        letter: 'l',
        name: "update of tasks that exit at once on SIGTERM",
        application: ABRUPT,
        steps: &[ROLL],
        ..USUAL
    },
    Scenario {
        letter: 'm',
        name: "update of tasks that serve until SIGKILL",
        application: STUBBORN,
        steps: &[ROLL],
        ..USUAL
    },
    Scenario {
        letter: 'n',
        name: "tasks that close connections after 2 s",
        steps: &[AskOnIdleConnections],
        ..USUAL
    },
    Scenario {
        letter: 'o',
        name: "removal of a service that serves 5 s requests",
        steps: &[RemoveWithLongRequests],
        ..USUAL
    },
    Scenario {
        letter: 'p',
        name: "Docker's API away for 3 s of an update of 4 tasks",
        replicas: 4,
        application: CHECKED,
        steps: &[Both(
            &[Update(StopFirst, One)],
            &[Wait(Duration::from_secs(1)), DockerGoes, Wait(Duration::from_secs(3)), DockerComes],
        )],
        allowed: Allowed::PostsUnderWay,
        ..USUAL
    },
    Scenario {
        letter: 'q',
        name: "controller killed in an update, back 2 s later",
        replicas: 4,
        application: CHECKED,
        steps: &[Both(
            &[Update(StopFirst, One)],
            &[
                Wait(Duration::from_secs(1)),
                KillController,
                Wait(Duration::from_secs(2)),
                StartController,
            ],
        )],
        allowed: Allowed::PostsUnderWay,
        ..USUAL
    },
    Scenario {
        letter: 'r',
        name: "200 services updated together",
        application: CHECKED,
        steps: &[Storm],
        ..USUAL
    },
    Scenario {
        letter: 's',
        name: "update of a service that holds WebSockets",
        steps: &[UpdateWithWebSockets],
        ..USUAL
    },
    Scenario {
        letter: 't',
        name: "an address that goes to another service's task",
        steps: &[HandOverAddress],
        ..USUAL
    },
];
