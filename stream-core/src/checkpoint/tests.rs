use std::time::Duration;

use super::testing::{ack_all, attempt, epoch, file, operator_ack, settings, sink_ack, source_ack, subtask};
use super::*;
use crate::table::RowCounts;
use crate::time::Timestamp;
use crate::watermark::Watermark;

const INTERVAL: i64 = 1000;

struct Story {
    coordinator: Coordinator,
    now: Timestamp,
    /// What was triggered as soon as every task ran.
    at_once: Option<Barrier>,
}

impl Story {
    fn new(attempt: Attempt) -> Self {
        let left: Vec<CheckpointId> = attempt.pending.iter().map(|epoch| epoch.epoch).collect();
        let mut coordinator = Coordinator::new(settings(), attempt, Timestamp(0));
        assert_eq!(coordinator.on(Timestamp(0), Event::Tick), [], "nothing before every task runs");
        let (mut told, mut at_once) = (Vec::new(), None);
        for effect in coordinator.on(Timestamp(0), Event::Running) {
            match effect {
                Effect::Complete { checkpoint, .. } => told.push(checkpoint),
                Effect::Trigger(barrier) => at_once = Some(barrier),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told, left, "the committer waits for it");
        Story { coordinator, now: Timestamp(0), at_once }
    }

    fn on(&mut self, event: Event) -> Vec<Effect> {
        self.coordinator.on(self.now, event)
    }

    fn after(&mut self, ms: i64) -> Vec<Effect> {
        self.now.0 += ms;
        self.on(Event::Tick)
    }

    fn triggered(&mut self) -> Barrier {
        if let Some(barrier) = self.at_once.take() {
            return barrier;
        }
        match self.after(INTERVAL).as_slice() {
            [Effect::Trigger(barrier)] => *barrier,
            effects => panic!("no trigger but {effects:?}"),
        }
    }

    fn stored(&mut self, checkpoint: CheckpointId) -> Manifest {
        let effects = ack_all(&mut self.coordinator, self.now, checkpoint);
        match effects.as_slice() {
            [Effect::Store(manifest)] => (**manifest).clone(),
            effects => panic!("nothing to store but {effects:?}"),
        }
    }

    fn completed(&mut self) -> CheckpointId {
        let checkpoint = self.triggered().checkpoint;
        self.stored(checkpoint);
        let effects = self.on(Event::Stored { checkpoint });
        assert!(matches!(effects[0], Effect::Complete { checkpoint: done, .. } if done == checkpoint), "{effects:?}");
        checkpoint
    }
}

fn id(sequence: u32) -> CheckpointId {
    CheckpointId::new(Token(3), sequence)
}

#[test]
fn checkpoint_is_announced_once_all_have_acknowledged_and_its_manifest_is_stored() {
    let mut story = Story::new(attempt());
    assert_eq!(story.after(INTERVAL - 1), []);
    let barrier = match story.after(1).as_slice() {
        [Effect::Trigger(barrier)] => *barrier,
        effects => panic!("{effects:?}"),
    };
    assert_eq!((barrier.checkpoint, barrier.prev), (id(1), CheckpointId::ROOT));
    assert_eq!((barrier.is_full, barrier.is_last), (false, false));
    let manifest = story.stored(id(1));
    assert_eq!(manifest.accounts, Accounts { read: 20 + 2, bad: 2, late: 2, in_sessions: 6, open: 12 });
    assert!(manifest.accounts.balance());
    assert_eq!(manifest.splits.len(), 2);
    assert_eq!(manifest.operators.len(), 2);
    assert_eq!(manifest.pending.len(), 1);
    assert_eq!((manifest.pending[0].epoch, manifest.pending[0].prev), (id(1), CheckpointId::ROOT));
    let effects = story.on(Event::Stored { checkpoint: id(1) });
    let [Effect::Complete { checkpoint, prev, accounts, cut }, Effect::CommitPositions(positions)] = effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*checkpoint, *prev, *accounts), (id(1), CheckpointId::ROOT, manifest.accounts));
    assert_eq!(cut, &Some(Cut { watermark: Watermark(0), splits: manifest.splits.clone() }));
    assert_eq!(cut, &manifest.pending[0].cut, "whoever publishes it after a failure knows the same");
    assert_eq!(positions.len(), 2);
    assert_eq!(story.coordinator.last_completed(), id(1));
}

#[test]
fn epochs_wait_in_the_manifest_until_they_are_published() {
    let mut story = Story::new(attempt());
    story.completed();
    let second = story.triggered();
    assert_eq!(second.prev, id(1));
    let chain = |manifest: &Manifest| manifest.pending.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>();
    assert_eq!(chain(&story.stored(id(2))), [id(1), id(2)]);
    story.on(Event::Stored { checkpoint: id(2) });
    story.on(Event::Published { epoch: id(1) });
    let third = story.triggered().checkpoint;
    assert_eq!(chain(&story.stored(third)), [id(2), id(3)]);
}

#[test]
fn acknowledgements_that_nobody_asked_for_change_nothing() {
    let mut story = Story::new(attempt());
    let checkpoint = story.triggered().checkpoint;
    let ack = |subtask, snapshot| Event::Acknowledged { checkpoint, subtask, snapshot, cost: Cost::default() };
    for _ in 0..10 {
        assert_eq!(story.on(ack(subtask(0, 0), source_ack(0))), [], "the same again");
    }
    assert_eq!(story.on(ack(subtask(9, 9), sink_ack())), [], "no such task");
    assert_eq!(story.on(ack(subtask(1, 0), source_ack(1))), [], "an operator is no source");
    let old = Event::Acknowledged {
        checkpoint: id(77),
        subtask: subtask(1, 0),
        snapshot: operator_ack(0),
        cost: Cost::default(),
    };
    assert_eq!(story.on(old), []);
    assert_eq!(story.on(Event::Stored { checkpoint }), [], "it was not to be stored yet");
    assert_eq!(story.coordinator.pending(), Some(checkpoint));
}

#[test]
fn declined_expired_and_unstored_checkpoints_are_given_up_and_their_ids_never_used_again() {
    let mut story = Story::new(attempt());
    let reason = "disk full".to_owned();
    let checkpoint = story.triggered().checkpoint;
    let declined = story.on(Event::Declined { checkpoint, subtask: subtask(1, 0), reason: reason.clone() });
    let said = "subtask 0 of stage 1 declined: disk full".to_owned();
    assert_eq!(declined, [Effect::Abort { checkpoint, reason: said }]);

    let checkpoint = story.triggered().checkpoint;
    assert_eq!(checkpoint, id(2));
    let effects = story.after(60_000);
    assert!(matches!(effects[0], Effect::Abort { checkpoint: given_up, .. } if given_up == checkpoint), "{effects:?}");

    let third = story.triggered();
    assert_eq!((third.checkpoint, third.prev), (id(3), CheckpointId::ROOT), "none was completed so far");
    story.stored(id(3));
    let effects = story.on(Event::NotStored { checkpoint: id(3), reason });
    assert!(matches!(&effects[0], Effect::Abort { reason, .. } if reason.ends_with("disk full")), "{effects:?}");
    let fourth = story.triggered();
    assert_eq!((fourth.checkpoint, fourth.prev), (id(4), CheckpointId::ROOT));
    let states: Vec<_> = story.coordinator.history().map(|entry| entry.state).collect();
    assert_eq!(states[1..], [CheckpointState::Aborted; 3]);
}

/// The write of a manifest failed, but the manifest is there: a new attempt may still choose it until the next one is published.
#[test]
fn manifest_that_was_stored_unnoticed_continues_nothing_once_the_next_one_is_published() {
    let mut story = Story::new(attempt());
    let first = story.triggered().checkpoint;
    let unnoticed = story.stored(first);
    story.on(Event::NotStored { checkpoint: first, reason: "no answer".to_owned() });
    let second = story.triggered().checkpoint;
    let next = story.stored(second);
    let chosen = |last_epoch, stored: &[&Manifest]| {
        let stored = stored.iter().map(|&manifest| manifest.clone()).collect();
        choose(stored, last_epoch).ok().and_then(|choice| choice.restored).map(|manifest| manifest.checkpoint)
    };
    assert_eq!(chosen(CheckpointId::ROOT, &[&unnoticed]), Some(first), "nothing was published behind it");
    assert_eq!(chosen(CheckpointId::ROOT, &[&unnoticed, &next]), Some(second));
    assert_eq!(chosen(second, &[&unnoticed]), None);
    assert_eq!(chosen(second, &[&unnoticed, &next]), Some(second));
}

#[test]
fn late_trigger_follows_as_soon_as_the_one_before_it_has_ended() {
    let mut story = Story::new(attempt());
    let first = story.triggered().checkpoint;
    assert_eq!(story.after(5 * INTERVAL), [], "one at a time");
    story.stored(first);
    let effects = story.on(Event::Stored { checkpoint: first });
    assert!(matches!(effects.last(), Some(Effect::Trigger(barrier)) if barrier.checkpoint == id(2)), "{effects:?}");
}

#[test]
fn job_whose_sources_have_ended_takes_a_last_checkpoint_and_no_other() {
    let mut story = Story::new(attempt());
    assert_eq!(story.on(Event::SourceDrained { subtask: subtask(0, 0) }), []);
    let effects = story.on(Event::SourceDrained { subtask: subtask(0, 1) });
    let [Effect::Trigger(barrier)] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(barrier.is_last && !barrier.is_full);
    // It fails once; the next is a last one too.
    story.on(Event::Declined { checkpoint: barrier.checkpoint, subtask: subtask(1, 0), reason: String::new() });
    let second = story.triggered();
    assert!(second.is_last);
    story.stored(second.checkpoint);
    story.on(Event::Stored { checkpoint: second.checkpoint });
    assert!(story.coordinator.is_over());
    assert_eq!(story.after(10 * INTERVAL), []);
    let late = Request { number: 1, kind: RequestKind::Savepoint };
    assert!(matches!(story.on(Event::Requested(late)).as_slice(), [Effect::Answer { number: 1, result: Err(_) }]));
}

#[test]
fn savepoint_is_full_and_answered_when_complete_and_a_stop_when_published() {
    let mut story = Story::new(attempt());
    let effects = story.on(Event::Requested(Request { number: 7, kind: RequestKind::Savepoint }));
    let [Effect::Trigger(barrier)] = effects.as_slice() else { panic!("at once, not {effects:?}") };
    assert!(barrier.is_full && !barrier.is_last);
    // A stop comes while it is on its way, and waits.
    assert_eq!(story.on(Event::Requested(Request { number: 8, kind: RequestKind::Stop })), []);
    let manifest = story.stored(barrier.checkpoint);
    assert!(manifest.is_savepoint);
    let effects = story.on(Event::Stored { checkpoint: barrier.checkpoint });
    assert!(effects.contains(&Effect::Answer { number: 7, result: Ok(id(1)) }), "{effects:?}");
    let Some(Effect::Trigger(stop)) = effects.last() else { panic!("{effects:?}") };
    assert!(stop.is_full && stop.is_last);
    story.stored(stop.checkpoint);
    let effects = story.on(Event::Stored { checkpoint: stop.checkpoint });
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Answer { .. })), "{effects:?}");
    story.on(Event::Published { epoch: id(1) });
    assert_eq!(story.on(Event::Published { epoch: id(2) }), [Effect::Answer { number: 8, result: Ok(id(2)) }]);
}

#[test]
fn drain_ends_event_time_first() {
    let mut story = Story::new(attempt());
    let request = Request { number: 1, kind: RequestKind::Drain };
    assert_eq!(story.on(Event::Requested(request)), [Effect::Drain]);
    let ordinary = story.triggered();
    assert!(!ordinary.is_last, "the sources are not at their end yet");
    story.on(Event::SourceDrained { subtask: subtask(0, 0) });
    story.on(Event::SourceDrained { subtask: subtask(0, 1) });
    story.stored(ordinary.checkpoint);
    let effects = story.on(Event::Stored { checkpoint: ordinary.checkpoint });
    let Some(Effect::Trigger(last)) = effects.last() else { panic!("{effects:?}") };
    assert!(last.is_last && last.is_full);
}

#[test]
fn whoever_waits_when_the_attempt_ends_is_told() {
    let mut story = Story::new(attempt());
    story.on(Event::Requested(Request { number: 1, kind: RequestKind::Savepoint }));
    story.on(Event::Requested(Request { number: 2, kind: RequestKind::Drain }));
    let effects = story.on(Event::Ended { reason: "it failed".to_owned() });
    let mut numbers: Vec<u64> = Vec::from_iter(effects.iter().filter_map(|effect| match effect {
        Effect::Answer { number, result: Err(_) } => Some(*number),
        _ => None,
    }));
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(story.after(10 * INTERVAL), []);
}

#[test]
fn new_attempt_follows_on_what_it_began_with() {
    let old = CheckpointId::new(Token(2), 9);
    let sealed = SealedEpoch {
        epoch: old,
        prev: CheckpointId::new(Token(2), 8),
        files: vec![file("rows")],
        rows: RowCounts::of_result(1),
        accounts: Accounts::default(),
        cut: None,
    };
    let base = Accounts { read: 100, bad: 10, late: 20, in_sessions: 30, open: 40 };
    let lost = SplitSnapshot::unread(Split { id: crate::ids::SplitId("topic/9".to_owned()), start: 5, end: None });
    let mut story = Story::new(Attempt {
        last_epoch: sealed.prev,
        pending: vec![sealed.clone()],
        base,
        splits: vec![lost.clone()],
        ..attempt()
    });
    let barrier = story.triggered();
    assert_eq!((barrier.checkpoint, barrier.prev), (id(1), old));
    let manifest = story.stored(id(1));
    assert_eq!(manifest.pending[0], sealed);
    assert_eq!(manifest.pending[1].prev, old);
    let accounts = Accounts { read: 122, bad: 12, late: 22, in_sessions: 36, open: 12 };
    assert_eq!(manifest.accounts, accounts);
    assert!(manifest.splits.contains(&lost), "a split of which no source tells is not forgotten");
}

#[test]
fn restored_attempt_takes_a_checkpoint_at_once_which_proves_nothing_yet_and_the_next_in_its_time() {
    let split = SplitSnapshot::unread(Split { id: crate::ids::SplitId("topic/0".to_owned()), start: 5, end: None });
    let mut story = Story::new(Attempt { splits: vec![split], ..attempt() });
    assert_eq!(story.at_once.map(|barrier| barrier.checkpoint), Some(id(1)));
    assert_eq!((story.completed(), story.coordinator.is_progress(id(1))), (id(1), false));
    assert_eq!(story.after(INTERVAL - 1), []);
    assert!(matches!(story.after(1)[..], [Effect::Trigger(_)]));
    assert!(story.coordinator.is_progress(id(2)));

    let mut fresh = Story::new(attempt());
    assert_eq!(fresh.at_once, None);
    let first = fresh.completed();
    assert!(fresh.coordinator.is_progress(first));
}

#[test]
fn adopted_attempt_goes_on_above_what_was_seen_and_tells_its_committer_again() {
    let mut before = Story::new(attempt());
    let first = before.triggered().checkpoint;
    let manifest = before.stored(first);
    let adopted =
        Attempt { pending: manifest.pending.clone(), stored: vec![manifest.clone()], last_sequence: 5, ..attempt() };
    let mut coordinator = Coordinator::new(settings(), adopted, Timestamp(0));
    let effects = coordinator.on(Timestamp(0), Event::Adopted { under_way: Some(id(5)) });
    let [complete, Effect::Abort { checkpoint, .. }, Effect::Trigger(barrier)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(
        *complete,
        Effect::Complete {
            checkpoint: first,
            prev: CheckpointId::ROOT,
            accounts: manifest.accounts,
            cut: manifest.pending[0].cut.clone()
        }
    );
    assert_eq!((*checkpoint, barrier.checkpoint, barrier.prev), (id(5), id(6), first));
}

#[test]
fn history_says_what_each_cost() {
    let mut story = Story::new(attempt());
    let checkpoint = story.triggered().checkpoint;
    for (place, ms) in [(0, 3), (1, 5)] {
        let cost = Cost { written_bytes: 10, pause: Duration::from_millis(ms), alignment: Duration::ZERO };
        let snapshot = source_ack(place);
        story.on(Event::Acknowledged { checkpoint, subtask: subtask(0, place), snapshot, cost });
    }
    let entry = story.coordinator.history().next().cloned().expect("one was triggered");
    assert_eq!((entry.cost.written_bytes, entry.cost.pause.as_millis()), (20, 5));
    assert_eq!(entry.triggered, Timestamp(INTERVAL + 5_000_000), "by the wall clock");
}

#[test]
fn what_older_attempts_left_is_swept_once_an_epoch_of_our_own_is_published() {
    let old = CheckpointId::new(Token(2), 9);
    let sealed = SealedEpoch { epoch: old, prev: CheckpointId::ROOT, ..epoch(0, 0) };
    let mut story = Story::new(Attempt { pending: vec![sealed], ..attempt() });
    let first = story.completed();
    assert_eq!(story.on(Event::Published { epoch: old }), [], "an older attempt's proves nothing");
    assert_eq!(story.on(Event::Published { epoch: first }), [Effect::Sweep { below: Token(3) }]);
    let second = story.completed();
    assert_eq!(story.on(Event::Published { epoch: second }), [], "once");
}
