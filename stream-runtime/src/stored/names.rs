//! What the objects of a job are called in the checkpoint store.
//!
//! ```text
//! JOB/chk/TOKEN-SEQUENCE/manifest         a completed checkpoint
//! JOB/state/TOKEN-SEQUENCE/STAGE-SUBTASK  keyed state of one subtask
//! JOB/rows/TOKEN/AFTER/NUMBER             rows that a committer gathered since epoch AFTER
//! ```
//!
//! A job is 32 hexadecimal digits, a token, a sequence number or a file's number 8: names in their order are in order of age. A
//! manifest names its files relative to `JOB/`.

use stream_core::ids::{CheckpointId, JobId, StageIndex, SubtaskId, SubtaskIndex, Token};

/// The name in the store of what a manifest calls `name`.
pub fn in_job(job: JobId, name: &str) -> String {
    format!("{job}/{name}")
}

/// What all manifests of a job begin with.
pub fn manifests(job: JobId) -> String {
    format!("{job}/chk/")
}

/// The name in the store of a checkpoint's manifest.
pub fn manifest(job: JobId, checkpoint: CheckpointId) -> String {
    format!("{}{}/manifest", manifests(job), digits(checkpoint))
}

/// The checkpoint whose manifest has this name in the store.
pub fn checkpoint_of(name: &str) -> Option<CheckpointId> {
    let (_, checkpoint) = name.strip_suffix("/manifest")?.rsplit_once("/chk/")?;
    id_of(checkpoint)
}

/// The name in the job's folder of a subtask's state at a checkpoint.
pub fn state(checkpoint: CheckpointId, subtask: SubtaskId) -> String {
    format!("state/{}/{}-{}", digits(checkpoint), subtask.stage, subtask.index)
}

/// The name in the job's folder of rows that an attempt gathered since epoch `after`; `number` tells its files apart.
pub fn rows(token: Token, after: CheckpointId, number: u64) -> String {
    format!("rows/{:08x}/{}/{number:08x}", token.0, digits(after))
}

/// The token in a name within the job's folder: that of the attempt that wrote the object. `None` for a name that is none of ours.
pub fn token_of(name: &str) -> Option<Token> {
    let parts: Vec<&str> = name.split('/').collect();
    let (token, rebuilt) = match parts[..] {
        ["chk", id, "manifest"] => (id_of(id)?.token(), name.to_owned()),
        ["state", id, subtask] => {
            let (stage, index) = subtask.split_once('-')?;
            let subtask =
                SubtaskId { stage: StageIndex(stage.parse().ok()?), index: SubtaskIndex(index.parse().ok()?) };
            (id_of(id)?.token(), state(id_of(id)?, subtask))
        }
        ["rows", token, after, file] => {
            let token = Token(u32::from_str_radix(token, 16).ok()?);
            (token, rows(token, id_of(after)?, u64::from_str_radix(file, 16).ok()?))
        }
        _ => return None,
    };
    // Another spelling of it is no name of ours.
    (rebuilt == name).then_some(token)
}

/// What an object of this name is: `manifest`, `state` or `rows` of a job, or what its name begins with.
pub fn kind(name: &str) -> &str {
    let mut parts = name.split('/');
    match (parts.next(), parts.next()) {
        (_, Some("chk")) => "manifest",
        (_, Some(kind @ ("state" | "rows"))) => kind,
        (first, _) => first.unwrap_or_default(),
    }
}

fn id_of(text: &str) -> Option<CheckpointId> {
    let (token, sequence) = text.split_once('-')?;
    let number = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let id = CheckpointId::new(Token(number(token)?), number(sequence)?);
    // Another spelling of it is no name of ours.
    (digits(id) == text).then_some(id)
}

fn digits(id: CheckpointId) -> String {
    format!("{:08x}-{:08x}", id.token().0, id.sequence())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_sort_by_age_and_read_back() {
        let ids =
            [(1, 2), (1, 16), (9, 1), (10, 1), (u32::MAX >> 1, u32::MAX)].map(|(t, s)| CheckpointId::new(Token(t), s));
        let names = ids.map(|id| manifest(JobId(7), id));
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(names.each_ref().map(|name| checkpoint_of(name)), ids.map(Some));
        assert!(names.iter().all(|name| name.starts_with(&manifests(JobId(7)))));
    }

    #[test]
    fn an_object_tells_its_kind_by_its_name() {
        let id = CheckpointId::new(Token(1), 2);
        let subtask = SubtaskId { stage: StageIndex(1), index: SubtaskIndex(0) };
        assert_eq!(kind(&manifest(JobId(7), id)), "manifest");
        assert_eq!(kind(&in_job(JobId(7), &state(id, subtask))), "state");
        assert_eq!(kind(&in_job(JobId(7), &rows(Token(1), id, 3))), "rows");
        assert_eq!((kind("leader/00000001"), kind("jobs/7/1-2"), kind("manifest")), ("leader", "jobs", "manifest"));
    }

    #[test]
    fn every_name_of_ours_tells_its_token_and_no_other_does() {
        let id = CheckpointId::new(Token(0xab), 2);
        let subtask = SubtaskId { stage: StageIndex(1), index: SubtaskIndex(12) };
        assert_eq!(token_of(&state(id, subtask)), Some(Token(0xab)));
        assert_eq!(
            token_of(&rows(Token(0xac), id, 3)),
            Some(Token(0xac)),
            "that of the writer, not of the epoch before"
        );
        assert_eq!(token_of("chk/000000ab-00000002/manifest"), Some(Token(0xab)));
        for name in [
            "",
            "manifest",
            "state/000000ab-00000002",
            "state/000000AB-00000002/1-0",
            "state/ab-2/1-0",
            "state/000000ab-00000002/1-0/x",
            "state/000000ab-00000002/1-00",
            "rows/ab/000000ab-00000002/00000003",
            "rows/000000ab/000000ab-00000002/3",
            "00000007-1.2/state/000000ab-00000002/1-0",
        ] {
            assert_eq!(token_of(name), None, "{name}");
        }
    }

    #[test]
    fn other_names_are_no_manifests() {
        for name in
            ["", "manifest", "x/chk/1-1/manifest", "x/chk/+0000001-00000001/manifest", "x/chk/00000001-00000001/other"]
        {
            assert_eq!(checkpoint_of(name), None, "{name}");
        }
    }
}
