//! Who dies where, and how it comes to that.
//!
//! A job of parallelism 2 has its subtasks `[0]`, and the sink, on the first taskmanager, its subtasks `[1]` on the second. The
//! arrivals are chosen so that a point is reached when sessions have been published for a while.

use std::fmt;

/// Who is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The jobmanager.
    Jobmanager,
    /// The taskmanager at this place.
    Taskmanager(usize),
}

/// How it comes to the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// By itself, as the job goes on.
    AtWork,
    /// The second taskmanager is killed, and the armed process dies as the job recovers from that.
    InRecovery,
    /// The armed process is the successor of one that was killed.
    Successor,
    /// Likewise, and epochs wait to be published, for the sink has not answered.
    SuccessorWithPending,
    /// It does not die: it stands still until it was replaced, and then goes on.
    Zombie,
}

/// A process, the point at which it dies, and how it comes to that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// By the names of `docs/design/0002-exactly-once.md`'s steps: P0 to P16 of a checkpoint, P17 to P19 of a recovery.
    pub(crate) phase: &'static str,
    /// Who.
    pub(crate) victim: Role,
    /// As `GAPWISE_FAIL_POINT` has it.
    pub(crate) fail_point: &'static str,
    /// How.
    pub(crate) scene: Scene,
}

impl Case {
    /// For databases and topics.
    pub(crate) fn name(&self) -> String {
        let who = match self.victim {
            Role::Jobmanager => "jobmanager".to_owned(),
            Role::Taskmanager(place) => format!("taskmanager_{}", place + 1),
        };
        let place = self.fail_point.replace(['[', ']'], "").replace(['-', '@', ':'], "_");
        format!("{}_{who}_{place}", self.phase.to_lowercase())
    }

    /// The point's own name.
    pub(crate) fn point(&self) -> &'static str {
        self.fail_point.split(['@', ':']).next().unwrap_or_default()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { phase, fail_point, scene, .. } = self;
        write!(f, "{phase} {fail_point} ({:?}, {scene:?})", self.victim)
    }
}

/// All of them; those that take longest first.
pub(crate) fn cases() -> Vec<Case> {
    let case = |scene| move |(phase, victim, fail_point)| Case { phase, victim, fail_point, scene };
    let mut cases = Vec::new();
    cases.extend(ZOMBIES.map(case(Scene::Zombie)));
    cases.extend(SUCCESSORS_WITH_PENDING.map(case(Scene::SuccessorWithPending)));
    cases.extend(SUCCESSORS.map(case(Scene::Successor)));
    cases.extend(IN_RECOVERY.map(case(Scene::InRecovery)));
    cases.extend(AT_WORK.map(case(Scene::AtWork)));
    cases
}

type Row = (&'static str, Role, &'static str);

const JOBMANAGER: Role = Role::Jobmanager;
const FIRST: Role = Role::Taskmanager(0);
const SECOND: Role = Role::Taskmanager(1);

const AT_WORK: [Row; 30] = [
    ("P0", JOBMANAGER, "heartbeat:24"),
    ("P0", FIRST, "heartbeat:14"),
    ("P1", JOBMANAGER, "checkpoint-triggered:12"),
    ("P2", SECOND, "trigger-received@source[1]:12"),
    ("P3", FIRST, "alignment-begun@window[0]:12"),
    ("P3", FIRST, "alignment-begun@sink[0]:12"),
    ("P4", SECOND, "snapshot-taken@window[1]:12"),
    ("P4", FIRST, "snapshot-taken@sink[0]:12"),
    ("P5", SECOND, "object-half-written@state:12"),
    ("P5", FIRST, "object-half-written@rows:5"),
    ("P6", SECOND, "object-stored@state:12"),
    ("P6", FIRST, "object-stored@rows:5"),
    ("P6", FIRST, "acknowledgement-due@source[0]:12"),
    ("P6", SECOND, "acknowledgement-due@window[1]:12"),
    ("P6", FIRST, "acknowledgement-due@sink[0]:12"),
    ("P7", SECOND, "acknowledgement-sent@window[1]:12"),
    ("P7", FIRST, "acknowledgement-sent@sink[0]:12"),
    ("P7", JOBMANAGER, "acknowledgement-received:57"),
    ("P8", JOBMANAGER, "one-acknowledgement-missing:12"),
    ("P9", JOBMANAGER, "all-acknowledged:12"),
    ("P10", JOBMANAGER, "object-half-written@manifest:12"),
    ("P10", JOBMANAGER, "object-written@manifest:12"),
    ("P11", JOBMANAGER, "object-stored@manifest:12"),
    ("P11", JOBMANAGER, "manifest-stored:12"),
    ("P12", FIRST, "completion-received@sink[0]:12"),
    ("P13", FIRST, "rows-sent:12"),
    ("P14", FIRST, "publication-committed:12"),
    ("P15", FIRST, "publication-known@sink[0]:12"),
    ("P15", JOBMANAGER, "publication-reported:12"),
    ("P16", JOBMANAGER, "discard-begun:8"),
];

const IN_RECOVERY: [Row; 3] = [
    // The first are those of the job's first attempt.
    ("P17", JOBMANAGER, "sink-fenced:2"),
    ("P18", JOBMANAGER, "deployment-sent:3"),
    ("P16", JOBMANAGER, "sweep-begun:2"),
];

const SUCCESSORS: [Row; 1] = [("P18", FIRST, "restore-begun@window[0]")];

const SUCCESSORS_WITH_PENDING: [Row; 1] = [("P19", FIRST, "earlier-epoch-published")];

const ZOMBIES: [Row; 3] = [
    ("P9", JOBMANAGER, "all-acknowledged:12:pause"),
    ("P12", FIRST, "completion-received@sink[0]:12:pause"),
    ("P13", FIRST, "rows-sent:12:pause"),
];
