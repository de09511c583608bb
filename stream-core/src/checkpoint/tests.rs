//! Examples: what the coordinator and `choose` do, effect by effect.

use super::*;
use crate::ids::{SplitId, StageIndex, SubtaskIndex};
use crate::key_group::KeyGroupRange;
use crate::time::Timestamp;
use crate::watermark::Watermark;

pub(super) const SETTINGS: Settings = Settings {
    interval: Duration::from_millis(100),
    timeout: Duration::from_millis(1000),
    retention: Duration::from_millis(500),
};

pub(super) const TOKEN: Token = Token(3);

pub(super) fn id(sequence: u32) -> CheckpointId {
    CheckpointId::new(TOKEN, sequence)
}

pub(super) fn subtask(stage: u32, index: u32) -> SubtaskId {
    SubtaskId { stage: StageIndex(stage), index: SubtaskIndex(index) }
}

pub(super) fn attempt() -> Attempt {
    Attempt {
        job_id: JobId(7),
        attempt: AttemptNumber(2),
        token: TOKEN,
        nonce: Nonce(9),
        parallelism: 2,
        max_parallelism: MaxParallelism::new(8).expect("in range"),
        sources: vec![subtask(0, 0), subtask(0, 1)],
        operators: vec![subtask(1, 0), subtask(1, 1)],
        sink: subtask(2, 0),
        last_epoch: CheckpointId::ROOT,
        restored: None,
        stored: vec![],
        last_sequence: 0,
    }
}

fn file(name: &str) -> FileRef {
    FileRef { name: name.to_owned(), bytes: 1, checksum: 0 }
}

/// What a task of the attempt acknowledges with; each file is its own.
pub(super) fn snapshot(subtask: SubtaskId, checkpoint: CheckpointId) -> TaskSnapshot {
    let name = format!("{checkpoint}-{}-{}", subtask.stage, subtask.index);
    match subtask.stage.0 {
        0 => {
            let split = Split { id: SplitId(format!("t/{}", subtask.index)), start: 10, end: None };
            let splits = vec![SplitSnapshot { split, watermark: Some(Watermark(5)), is_finished: false }];
            TaskSnapshot::Source { splits, events: 9, bad: 1 }
        }
        1 => {
            let key_groups = KeyGroupRange { start: 0, end: 4 };
            let state = OperatorSnapshot { subtask, key_groups, watermark: Watermark(5), files: vec![file(&name)] };
            TaskSnapshot::Operator { state, late: 2, fired: 3, open: 4 }
        }
        _ => TaskSnapshot::Sink { files: vec![file(&name)], rows: 6 },
    }
}

pub(super) fn acknowledged(checkpoint: CheckpointId, subtask: SubtaskId) -> Event {
    let cost = Cost { written_bytes: 10, pause: Duration::from_millis(2), alignment: Duration::from_millis(3) };
    Event::Acknowledged { checkpoint, subtask, snapshot: snapshot(subtask, checkpoint), cost }
}

pub(super) fn tasks() -> [SubtaskId; 5] {
    [subtask(0, 0), subtask(0, 1), subtask(1, 0), subtask(1, 1), subtask(2, 0)]
}

fn running() -> Coordinator {
    let mut coordinator = Coordinator::new(SETTINGS, attempt(), Timestamp(0));
    assert_eq!(coordinator.on(Timestamp(0), Event::Running), vec![]);
    coordinator
}

/// Every task acknowledges; the manifest that is to be stored.
fn acknowledge_all(coordinator: &mut Coordinator, now: i64, checkpoint: CheckpointId) -> Manifest {
    let effects: Vec<_> =
        tasks().into_iter().flat_map(|task| coordinator.on(Timestamp(now), acknowledged(checkpoint, task))).collect();
    match &effects[..] {
        [Effect::Store(manifest)] => (**manifest).clone(),
        other => panic!("one store was expected: {other:?}"),
    }
}

fn complete_one(coordinator: &mut Coordinator, now: i64) -> (CheckpointId, Vec<Effect>) {
    let _ = coordinator.on(Timestamp(now), Event::Tick);
    let checkpoint = coordinator.pending().expect("it was triggered");
    acknowledge_all(coordinator, now, checkpoint);
    (checkpoint, coordinator.on(Timestamp(now), Event::Stored { checkpoint }))
}

fn request(number: u64, kind: RequestKind) -> Event {
    Event::Requested(Request { number, kind })
}

fn barrier(sequence: u32, prev: CheckpointId, triggered: i64) -> Barrier {
    Barrier { checkpoint: id(sequence), prev, triggered: Timestamp(triggered), is_full: false, is_last: false }
}

fn manifest(checkpoint: u64, chain: &[(u64, u64)]) -> Manifest {
    let sealed = |&(prev, epoch): &(u64, u64)| SealedEpoch {
        epoch: CheckpointId(epoch),
        prev: CheckpointId(prev),
        files: vec![],
        rows: 0,
        accounts: Accounts::default(),
    };
    Manifest {
        version: FORMAT_VERSION,
        job_id: JobId(7),
        checkpoint: CheckpointId(checkpoint),
        attempt: AttemptNumber(1),
        token: Token(1),
        nonce: Nonce(1),
        triggered: Timestamp(0),
        completed: Timestamp(0),
        is_savepoint: false,
        parallelism: 1,
        max_parallelism: MaxParallelism::new(8).expect("in range"),
        splits: vec![],
        operators: vec![],
        pending: chain.iter().map(sealed).collect(),
        accounts: Accounts { read: 100, bad: 10, late: 20, in_sessions: 30, open: 40 },
    }
}

#[test]
fn nothing_is_triggered_before_all_tasks_run_and_then_at_the_interval() {
    let mut coordinator = Coordinator::new(SETTINGS, attempt(), Timestamp(0));
    assert_eq!(coordinator.on(Timestamp(500), Event::Tick), vec![]);
    assert_eq!(coordinator.on(Timestamp(500), Event::Running), vec![]);
    assert_eq!(coordinator.on(Timestamp(599), Event::Tick), vec![]);
    let first = barrier(1, CheckpointId::ROOT, 600);
    assert_eq!(coordinator.on(Timestamp(600), Event::Tick), vec![Effect::Trigger(first)]);
    assert_eq!(coordinator.on(Timestamp(700), Event::Tick), vec![], "one at a time");
}

#[test]
fn it_is_complete_with_every_acknowledgement_and_the_manifest_stored() {
    let mut coordinator = running();
    let _ = coordinator.on(Timestamp(100), Event::Tick);
    let manifest = acknowledge_all(&mut coordinator, 120, id(1));
    let accounts = Accounts { read: 20, bad: 2, late: 4, in_sessions: 6, open: 8 };
    assert!(accounts.balance());
    assert_eq!((manifest.checkpoint, manifest.accounts, manifest.completed), (id(1), accounts, Timestamp(120)));
    assert_eq!((manifest.splits.len(), manifest.operators.len(), manifest.pending.len()), (2, 2, 1));
    let effects = coordinator.on(Timestamp(130), Event::Stored { checkpoint: id(1) });
    assert_eq!(effects[0], Effect::Complete { checkpoint: id(1), prev: CheckpointId::ROOT, accounts });
    assert!(matches!(&effects[1..], [Effect::CommitPositions(splits)] if splits.len() == 2));
    let next = barrier(2, id(1), 200);
    assert_eq!(coordinator.on(Timestamp(200), Event::Tick), vec![Effect::Trigger(next)]);
    let manifest = acknowledge_all(&mut coordinator, 210, id(2));
    assert_eq!(manifest.pending.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [id(1), id(2)]);
    let record = coordinator.history().next().expect("the first");
    assert_eq!((record.state, record.cost.written_bytes, record.is_published), (CheckpointState::Completed, 50, false));
    let _ = coordinator.on(Timestamp(220), Event::Published { epoch: id(1) });
    assert_eq!(coordinator.published(), id(1));
    assert_eq!(coordinator.check(), Ok(()));
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_task_or_checkpoint_changes_nothing() {
    let mut coordinator = running();
    let _ = coordinator.on(Timestamp(100), Event::Tick);
    for task in &tasks()[1..] {
        let _ = coordinator.on(Timestamp(100), acknowledged(id(1), *task));
    }
    let missing = tasks()[0];
    let cost = Cost::default();
    let wrong_kind = snapshot(subtask(2, 0), id(1));
    let wrong = [
        Event::Acknowledged { checkpoint: id(1), subtask: missing, snapshot: wrong_kind, cost },
        acknowledged(id(1), subtask(0, 9)),
        acknowledged(id(2), missing),
        acknowledged(id(1), tasks()[1]),
    ];
    for event in wrong {
        assert_eq!(coordinator.on(Timestamp(100), event), vec![]);
    }
    assert!(matches!(coordinator.on(Timestamp(100), acknowledged(id(1), missing))[..], [Effect::Store(_)]));
}

#[test]
fn a_declined_and_an_expired_one_are_given_up_and_their_ids_are_not_used_again() {
    let mut coordinator = running();
    let _ = coordinator.on(Timestamp(100), Event::Tick);
    let declined = Event::Declined { checkpoint: id(1), subtask: subtask(1, 0), reason: "full".to_owned() };
    let effects = coordinator.on(Timestamp(150), declined);
    assert_eq!(effects, vec![Effect::Abort { checkpoint: id(1), reason: "full".to_owned() }]);
    assert_eq!(coordinator.on(Timestamp(160), acknowledged(id(1), subtask(0, 0))), vec![]);
    let second = Effect::Trigger(barrier(2, CheckpointId::ROOT, 200));
    assert_eq!(coordinator.on(Timestamp(200), Event::Tick), vec![second]);
    let effects = coordinator.on(Timestamp(1200), Event::Tick);
    assert!(matches!(effects[..], [Effect::Abort { .. }, Effect::Trigger(_)]), "{effects:?}");
}

#[test]
fn a_manifest_that_was_stored_all_the_same_does_not_continue_the_ledger_once_the_next_is_published() {
    let mut coordinator = running();
    let _ = coordinator.on(Timestamp(100), Event::Tick);
    let ghost = acknowledge_all(&mut coordinator, 100, id(1));
    let effects = coordinator.on(Timestamp(110), Event::NotStored { checkpoint: id(1), reason: "away".to_owned() });
    assert!(matches!(effects[..], [Effect::Abort { .. }]));
    let _ = coordinator.on(Timestamp(200), Event::Tick);
    let next = acknowledge_all(&mut coordinator, 200, id(2));
    assert_eq!(next.pending[0].prev, CheckpointId::ROOT);
    let both = [ghost.clone(), next.clone()];
    // Nothing is published yet: either would do, and the newer one is taken.
    assert!(matches!(choose(&both, CheckpointId::ROOT), Ok(Choice::Restore(it)) if it.manifest == next));
    assert!(matches!(choose(&both[..1], CheckpointId::ROOT), Ok(Choice::Restore(it)) if it.manifest == ghost));
    let refusal = choose(&both[..1], id(2)).expect_err("it is behind");
    assert_eq!(refusal.rejected, vec![(id(1), Misfit::Behind)]);
}

#[test]
fn drained_sources_take_a_last_checkpoint_at_once_and_nothing_follows_it() {
    let mut coordinator = running();
    assert_eq!(coordinator.on(Timestamp(10), Event::SourceDrained { subtask: subtask(0, 0) }), vec![]);
    let effects = coordinator.on(Timestamp(20), Event::SourceDrained { subtask: subtask(0, 1) });
    assert!(matches!(effects[..], [Effect::Trigger(barrier)] if barrier.is_last && !barrier.is_full));
    let declined = Event::Declined { checkpoint: id(1), subtask: subtask(1, 0), reason: "full".to_owned() };
    assert!(matches!(coordinator.on(Timestamp(30), declined)[..], [Effect::Abort { .. }]), "not at once again");
    assert!(matches!(coordinator.on(Timestamp(120), Event::Tick)[..], [Effect::Trigger(barrier)] if barrier.is_last));
    acknowledge_all(&mut coordinator, 130, id(2));
    let _ = coordinator.on(Timestamp(140), Event::Stored { checkpoint: id(2) });
    assert!(coordinator.is_ending());
    assert_eq!(coordinator.on(Timestamp(900), Event::Tick), vec![]);
    let effects = coordinator.on(Timestamp(900), request(1, RequestKind::Savepoint));
    assert!(matches!(effects[..], [Effect::Answer { number: 1, result: Err(_) }]));
}

#[test]
fn a_stop_is_a_full_last_savepoint_and_is_answered_once_it_is_published() {
    let mut coordinator = running();
    let effects = coordinator.on(Timestamp(10), request(1, RequestKind::Stop));
    assert!(matches!(effects[..], [Effect::Trigger(barrier)] if barrier.is_last && barrier.is_full));
    let (checkpoint, effects) = complete_one(&mut coordinator, 20);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Answer { .. })));
    assert!(coordinator.manifests().all(|manifest| manifest.is_savepoint));
    let effects = coordinator.on(Timestamp(30), Event::Published { epoch: checkpoint });
    assert_eq!(effects, vec![Effect::Answer { number: 1, result: Ok(checkpoint) }]);
}

#[test]
fn a_drain_waits_for_the_sources_and_tries_until_it_works() {
    let mut coordinator = running();
    assert_eq!(coordinator.on(Timestamp(10), request(1, RequestKind::Drain)), vec![Effect::Drain]);
    let _ = coordinator.on(Timestamp(20), Event::SourceDrained { subtask: subtask(0, 0) });
    let effects = coordinator.on(Timestamp(20), Event::SourceDrained { subtask: subtask(0, 1) });
    assert!(matches!(effects[..], [Effect::Trigger(barrier)] if barrier.is_last && barrier.is_full));
    let declined = Event::Declined { checkpoint: id(1), subtask: subtask(1, 0), reason: "full".to_owned() };
    assert!(matches!(coordinator.on(Timestamp(30), declined)[..], [Effect::Abort { .. }]));
    let (checkpoint, _) = complete_one(&mut coordinator, 120);
    let effects = coordinator.on(Timestamp(130), Event::Published { epoch: checkpoint });
    assert_eq!(effects, vec![Effect::Answer { number: 1, result: Ok(checkpoint) }]);
}

#[test]
fn a_savepoint_that_is_given_up_is_answered_with_the_reason() {
    let mut coordinator = running();
    let _ = coordinator.on(Timestamp(10), request(4, RequestKind::Savepoint));
    let declined = Event::Declined { checkpoint: id(1), subtask: subtask(1, 0), reason: "full".to_owned() };
    let effects = coordinator.on(Timestamp(30), declined);
    assert!(matches!(&effects[1..], [Effect::Answer { number: 4, result: Err(reason) }] if reason.contains("full")));
}

#[test]
fn a_restored_attempt_goes_on_with_accounts_splits_and_pending_epochs() {
    let mut restored = manifest(17, &[(15, 16), (16, 17)]);
    let split = Split { id: SplitId("t/7".to_owned()), start: 3, end: None };
    restored.splits = vec![SplitSnapshot { split, watermark: None, is_finished: true }];
    let attempt =
        Attempt { last_epoch: CheckpointId(16), restored: Some(restored.clone()), stored: vec![restored], ..attempt() };
    let mut coordinator = Coordinator::new(SETTINGS, attempt, Timestamp(0));
    let _ = coordinator.on(Timestamp(0), Event::Running);
    let effects = coordinator.on(Timestamp(100), Event::Tick);
    assert_eq!(effects, vec![Effect::Trigger(barrier(1, CheckpointId(17), 100))]);
    let manifest = acknowledge_all(&mut coordinator, 100, id(1));
    assert_eq!(manifest.accounts, Accounts { read: 120, bad: 12, late: 24, in_sessions: 36, open: 8 });
    assert_eq!(manifest.splits.len(), 3, "the split that nobody acknowledged is kept");
    let chain: Vec<_> = manifest.pending.iter().map(|epoch| epoch.epoch).collect();
    assert_eq!(chain, [CheckpointId(17), id(1)]);
}

#[test]
fn an_old_savepoint_goes_on_from_where_the_ledger_is() {
    let restored = manifest(17, &[(16, 17)]);
    let attempt = Attempt { last_epoch: CheckpointId(20), restored: Some(restored), ..attempt() };
    let coordinator = Coordinator::new(SETTINGS, attempt, Timestamp(0));
    assert_eq!((coordinator.last_completed(), coordinator.unpublished()), (CheckpointId(20), &[][..]));
}

#[test]
fn an_adopted_attempt_tells_again_what_is_not_published_and_goes_on_above_all_ids() {
    let mut coordinator = running();
    let (first, _) = complete_one(&mut coordinator, 100);
    let (second, _) = complete_one(&mut coordinator, 200);
    let stored: Vec<_> = coordinator.manifests().cloned().collect();
    let adopted = Attempt { stored, last_sequence: 5, ..attempt() };
    let mut coordinator = Coordinator::new(SETTINGS, adopted, Timestamp(300));
    let told: Vec<_> = coordinator.on(Timestamp(300), Event::Running);
    let told: Vec<_> = told
        .iter()
        .map(|effect| matches!(effect, Effect::Complete { checkpoint, .. } if [first, second].contains(checkpoint)))
        .collect();
    assert_eq!(told, [true, true]);
    let effects = coordinator.on(Timestamp(400), Event::Tick);
    assert_eq!(effects, vec![Effect::Trigger(barrier(6, second, 400))]);
}

#[test]
fn a_checkpoint_is_kept_until_a_newer_one_was_published_for_long_enough() {
    let mut coordinator = running();
    let (first, _) = complete_one(&mut coordinator, 100);
    let (second, _) = complete_one(&mut coordinator, 200);
    assert_eq!(coordinator.on(Timestamp(250), Event::Published { epoch: second }), vec![]);
    let effects = coordinator.on(Timestamp(749), Event::Tick);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Discard { .. })));
    let effects = coordinator.on(Timestamp(750), Event::Tick);
    let Some(Effect::Discard { checkpoints, files }) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(checkpoints, &[first]);
    // The rows of the first are named by the second, which was completed before they were published.
    assert_eq!(files, &["3.1-1-0", "3.1-1-1"]);
}

#[test]
fn choose_takes_the_newest_that_continues_the_ledger() {
    let all = [manifest(7, &[(5, 6), (6, 7)]), manifest(5, &[(4, 5)]), manifest(6, &[(4, 5), (5, 6)])];
    let chosen = |last_epoch| match choose(&all, CheckpointId(last_epoch)) {
        Ok(Choice::Restore(it)) => Some((it.manifest.checkpoint.0, it.publish.len())),
        Ok(Choice::Fresh) => None,
        Err(refusal) => panic!("{refusal}"),
    };
    assert_eq!(chosen(7), Some((7, 0)));
    assert_eq!(chosen(6), Some((7, 1)));
    assert_eq!(chosen(5), Some((7, 2)));
    assert_eq!(chosen(4), Some((6, 2)), "the newest relies on an epoch that the database forgot");
    assert_eq!(choose(&[], CheckpointId::ROOT), Ok(Choice::Fresh));
}

#[test]
fn choose_refuses_with_each_reason() {
    let mut other = manifest(9, &[(8, 9)]);
    other.version = FORMAT_VERSION + 1;
    let all = [manifest(5, &[(4, 5)]), manifest(7, &[(5, 6), (4, 7)]), other];
    let refusal = choose(&all, CheckpointId::ROOT).expect_err("the ledger was lost");
    let ahead = Misfit::Ahead { needs: CheckpointId(4) };
    let expected = [(9, Misfit::Format(2)), (7, Misfit::Broken), (5, ahead)];
    assert_eq!(refusal.rejected, expected.map(|(checkpoint, misfit)| (CheckpointId(checkpoint), misfit)));
    let text = refusal.to_string();
    assert!(text.contains("epoch 0.0") && text.contains("0.5: it relies on epoch 0.4"), "{text}");
    assert!(choose(&[], CheckpointId(3)).is_err());
}

#[test]
fn an_old_savepoint_is_taken_only_with_duplicates_accepted_and_none_that_loses_rows() {
    let savepoint = manifest(5, &[(4, 5)]);
    let choose = |last_epoch, accept| choose_savepoint(&savepoint, CheckpointId(last_epoch), accept);
    assert_eq!(choose(4, false).map(|it| it.publish.len()), Ok(1));
    assert_eq!(choose(9, false).map_err(|refusal| refusal.misfit), Err(Misfit::Behind));
    assert_eq!(choose(9, true).map(|it| it.publish.len()), Ok(0));
    assert!(choose(3, true).is_err());
}
