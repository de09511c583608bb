//! What can go wrong, and when it is planned to: a seed's schedule.

use std::fmt;
use std::time::Duration;

use e2e::random::Random;

/// Of the processes that can be chosen, number `pick` modulo how many there are.
pub(crate) type Pick = u64;

/// A fault with all its choices made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` of so many taskmanagers at once, each started again after `down`.
    KillTaskmanagers { count: usize, pick: Pick, down: Duration },
    /// SIGSTOP of a taskmanager, then SIGCONT: a zombie, if it is longer than the heartbeat timeout.
    PauseTaskmanager { pick: Pick, lasts: Duration },
    /// `kill -9` of the jobmanager.
    KillJobmanager { down: Duration },
    /// SIGSTOP of the jobmanager, then SIGCONT.
    PauseJobmanager { lasts: Duration },
    /// An immediate shutdown of Postgres, and its start.
    CrashPostgres,
    /// `kill -9` of the broker.
    KillBroker { down: Duration },
    /// Everything between sink and Postgres is slow.
    SlowPostgres { delay: Duration, lasts: Duration },
    /// Every connection of the sink breaks.
    CutPostgres,
    /// Nothing passes between sink and Postgres, then every connection breaks.
    SilencePostgres { lasts: Duration },
    /// Postgres hears the sink, but not the other way round; then every connection breaks. Was the epoch committed?
    LoseAnswers { lasts: Duration },
    /// No fault, but a new attempt all the same.
    Rescale { parallelism: u32 },
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillTaskmanager,
    KillTaskmanagers,
    PauseTaskmanager,
    KillJobmanager,
    PauseJobmanager,
    CrashPostgres,
    KillBroker,
    SlowPostgres,
    CutPostgres,
    SilencePostgres,
    LoseAnswers,
    Rescale,
}

/// Each round has these once, in an order of its own: so every kind comes within little more than a minute.
const ROUND: [Kind; 15] = [
    Kind::KillTaskmanager,
    Kind::KillTaskmanager,
    Kind::KillTaskmanagers,
    Kind::PauseTaskmanager,
    Kind::PauseTaskmanager,
    Kind::KillJobmanager,
    Kind::KillJobmanager,
    Kind::PauseJobmanager,
    Kind::CrashPostgres,
    Kind::KillBroker,
    Kind::SlowPostgres,
    Kind::CutPostgres,
    Kind::SilencePostgres,
    Kind::LoseAnswers,
    Kind::Rescale,
];

/// From one fault to the next: short enough that many come while the last is not over, long enough to publish in between.
const PAUSE_MS: [u64; 2] = [3_000, 6_500];
/// The first comes when something was published that could be lost.
const FIRST_AFTER: Duration = Duration::from_secs(6);

/// The faults of a seed up to `end`, each with when it comes.
pub(crate) fn plan(seed: u64, end: Duration) -> Vec<(Duration, Fault)> {
    let mut random = Random::new(seed);
    let (mut planned, mut at, mut round) = (Vec::new(), FIRST_AFTER, Vec::new());
    while at < end {
        let kind = round.pop().unwrap_or_else(|| {
            round = ROUND.to_vec();
            random.shuffle(&mut round);
            round.pop().expect("a round has faults")
        });
        planned.push((at, kind.with_choices(&mut random)));
        at += random.between(PAUSE_MS[0], PAUSE_MS[1]);
    }
    planned
}

impl Kind {
    /// The heartbeat timeout is 3 s: a pause may be shorter or longer, and is mostly longer.
    fn with_choices(self, random: &mut Random) -> Fault {
        let pick = random.bits();
        match self {
            Kind::KillTaskmanager => Fault::KillTaskmanagers { count: 1, pick, down: random.between(100, 3_000) },
            Kind::KillTaskmanagers => {
                let count = 2 + random.below(2) as usize;
                Fault::KillTaskmanagers { count, pick, down: random.between(100, 4_000) }
            }
            Kind::PauseTaskmanager => Fault::PauseTaskmanager { pick, lasts: random.between(2_000, 8_000) },
            Kind::KillJobmanager => Fault::KillJobmanager { down: random.between(0, 10_000) },
            Kind::PauseJobmanager => Fault::PauseJobmanager { lasts: random.between(1_000, 7_000) },
            Kind::CrashPostgres => Fault::CrashPostgres,
            Kind::KillBroker => Fault::KillBroker { down: random.between(0, 3_000) },
            Kind::SlowPostgres => {
                Fault::SlowPostgres { delay: random.between(20, 400), lasts: random.between(2_000, 6_000) }
            }
            Kind::CutPostgres => Fault::CutPostgres,
            Kind::SilencePostgres => Fault::SilencePostgres { lasts: random.between(1_000, 8_000) },
            Kind::LoseAnswers => Fault::LoseAnswers { lasts: random.between(500, 5_000) },
            Kind::Rescale => Fault::Rescale { parallelism: 1 + random.below(4) as u32 },
        }
    }
}

impl Fault {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Fault::KillTaskmanagers { count: 1, .. } => Kind::KillTaskmanager,
            Fault::KillTaskmanagers { .. } => Kind::KillTaskmanagers,
            Fault::PauseTaskmanager { .. } => Kind::PauseTaskmanager,
            Fault::KillJobmanager { .. } => Kind::KillJobmanager,
            Fault::PauseJobmanager { .. } => Kind::PauseJobmanager,
            Fault::CrashPostgres => Kind::CrashPostgres,
            Fault::KillBroker { .. } => Kind::KillBroker,
            Fault::SlowPostgres { .. } => Kind::SlowPostgres,
            Fault::CutPostgres => Kind::CutPostgres,
            Fault::SilencePostgres { .. } => Kind::SilencePostgres,
            Fault::LoseAnswers { .. } => Kind::LoseAnswers,
            Fault::Rescale { .. } => Kind::Rescale,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::KillTaskmanager => "kill -9 taskmanager",
            Kind::KillTaskmanagers => "kill -9 several taskmanagers",
            Kind::PauseTaskmanager => "pause taskmanager (zombie)",
            Kind::KillJobmanager => "kill -9 jobmanager",
            Kind::PauseJobmanager => "pause jobmanager",
            Kind::CrashPostgres => "crash postgres",
            Kind::KillBroker => "kill -9 broker",
            Kind::SlowPostgres => "postgres connection slow",
            Kind::CutPostgres => "postgres connection cut",
            Kind::SilencePostgres => "postgres connection silent",
            Kind::LoseAnswers => "postgres answers lost",
            Kind::Rescale => "rescale",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_plans_the_same_faults() {
        let end = Duration::from_secs(600);
        assert_eq!(plan(7, end), plan(7, end));
        assert_ne!(plan(7, end), plan(8, end));
    }

    #[test]
    fn two_minutes_have_every_kind_and_more_than_six_faults_a_minute() {
        for seed in 0..100 {
            let planned = plan(seed, Duration::from_secs(120));
            let kinds: BTreeSet<Kind> = planned.iter().map(|(_, fault)| fault.kind()).collect();
            assert_eq!(kinds.len(), 12, "seed {seed}");
            assert!(planned.len() > 2 * 9, "seed {seed}: {}", planned.len());
        }
    }
}
