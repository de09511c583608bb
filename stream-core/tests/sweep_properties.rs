//! What is swept, against a rule that looks at each file alone and at every manifest for it.

use proptest::prelude::*;
use stream_core::checkpoint::{
    Accounts, FORMAT_VERSION, FileRef, Listed, ListedKind, Manifest, OperatorSnapshot, SealedEpoch, orphans,
};
use stream_core::ids::{AttemptNumber, CheckpointId, JobId, Nonce, StageIndex, SubtaskId, SubtaskIndex, Token};
use stream_core::key_group::{KeyGroupRange, MaxParallelism};
use stream_core::table::RowCounts;
use stream_core::time::Timestamp;
use stream_core::watermark::Watermark;

/// Few, so that manifests and lists often mean the same.
const NAMES: u8 = 6;
const TOKENS: u32 = 5;

fn file(name: u8) -> FileRef {
    FileRef { name: format!("file-{name}"), bytes: 1, checksum: 1 }
}

fn manifest(token: u32, is_savepoint: bool, state: &[u8], rows: &[u8]) -> Manifest {
    let checkpoint = CheckpointId::new(Token(token), 1);
    let operator = OperatorSnapshot {
        subtask: SubtaskId { stage: StageIndex(1), index: SubtaskIndex(0) },
        key_groups: KeyGroupRange::of_subtask(MaxParallelism::DEFAULT, 1, SubtaskIndex(0)),
        watermark: Watermark::NONE,
        by_clock: Watermark::NONE,
        files: state.iter().copied().map(file).collect(),
    };
    let epoch = SealedEpoch {
        epoch: checkpoint,
        prev: CheckpointId::ROOT,
        files: rows.iter().copied().map(file).collect(),
        rows: RowCounts::default(),
        accounts: Accounts::default(),
        cut: None,
    };
    Manifest {
        version: FORMAT_VERSION,
        job_id: JobId(1),
        checkpoint,
        attempt: AttemptNumber(1),
        token: Token(token),
        nonce: Nonce(0),
        triggered: Timestamp(0),
        completed: Timestamp(0),
        is_savepoint,
        parallelism: 1,
        max_parallelism: MaxParallelism::DEFAULT,
        splits: Vec::new(),
        operators: vec![operator],
        pending: vec![epoch],
        accounts: Accounts::default(),
    }
}

fn listed() -> impl Strategy<Value = Listed> {
    let kind = prop_oneof![
        6 => Just(ListedKind::File),
        2 => Just(ListedKind::Unfinished),
        1 => Just(ListedKind::Manifest),
    ];
    (0..NAMES, prop::option::weighted(0.9, 0..TOKENS), kind, any::<u16>()).prop_map(|(name, token, kind, place)| {
        Listed { name: format!("file-{name}"), place: place.to_string(), token: token.map(Token), kind }
    })
}

fn manifests() -> impl Strategy<Value = Vec<Option<Manifest>>> {
    let names = || prop::collection::vec(0..NAMES, 0..3);
    let one = (0..TOKENS, any::<bool>(), names(), names())
        .prop_map(|(token, is_savepoint, state, rows)| manifest(token, is_savepoint, &state, &rows));
    prop::collection::vec(prop::option::weighted(0.95, one), 0..4)
}

/// What may go, said once more and slowly.
fn may_go(file: &Listed, attempt: Token, manifests: &[Option<Manifest>]) -> bool {
    for manifest in manifests {
        let Some(manifest) = manifest else { return false };
        let state = manifest.operators.iter().flat_map(|operator| operator.files.iter());
        let rows = manifest.pending.iter().flat_map(|epoch| epoch.files.iter());
        for needed in state.chain(rows) {
            if needed.name == file.name && file.kind == ListedKind::File {
                return false;
            }
        }
    }
    match file.token {
        Some(token) => token.0 < attempt.0 && file.kind != ListedKind::Manifest,
        None => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn exactly_what_older_attempts_left_and_no_manifest_names_is_swept(
        attempt in (0..=TOKENS).prop_map(Token),
        listed in prop::collection::vec(listed(), 0..12),
        manifests in manifests(),
    ) {
        let expected: Vec<&Listed> = listed.iter().filter(|file| may_go(file, attempt, &manifests)).collect();
        prop_assert_eq!(orphans(attempt, &listed, &manifests), expected);
    }

    /// Whatever an attempt could begin with before, it can begin with afterwards.
    #[test]
    fn every_manifest_keeps_its_files(
        attempt in (0..=TOKENS).prop_map(Token),
        listed in prop::collection::vec(listed(), 0..12),
        mut manifests in manifests(),
    ) {
        manifests.retain(Option::is_some);
        let gone = orphans(attempt, &listed, &manifests);
        for name in manifests.iter().flatten().flat_map(Manifest::files) {
            let is_gone = |listed: &&&Listed| listed.name == name && listed.kind == ListedKind::File;
            prop_assert_eq!(gone.iter().find(is_gone), None);
        }
        prop_assert!(gone.iter().all(|listed| listed.kind != ListedKind::Manifest && listed.token < Some(attempt)));
    }
}
