//! Names of things, as types: a job cannot be passed where a taskmanager is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A job, for its whole life across attempts. Shown as 32 hexadecimal digits, as Flink shows its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct JobId(pub u128);

/// One try at running a job; grows by one with each restart. A message of an older attempt changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptNumber(pub u32);

/// A checkpoint of a job, and the epoch that its barrier closes: the attempt's token above, a sequence number below. Only
/// ever grows, across attempts and restarts of the jobmanager, and is never used twice. Fits a `BIGINT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckpointId(pub u64);

/// The fencing token of an attempt: a counter in the sink's ledger that each attempt raises. Below 2^31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u32);

/// A random number beside the token: a database that was set back can hand out an old token again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Nonce(pub u128);

/// A stage's place in its pipeline, from 0 at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageIndex(pub u32);

/// A parallel copy of a stage, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubtaskIndex(pub u32);

/// One subtask of a job: which stage, which copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubtaskId {
    /// The stage it is a copy of.
    pub stage: StageIndex,
    /// Which copy.
    pub index: SubtaskIndex,
}

/// A taskmanager process, by the name it registered with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskManagerId(pub String);

/// A taskmanager's share that holds one subtask of each stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId {
    /// Whose slot.
    pub taskmanager: TaskManagerId,
    /// Which of its slots, from 0.
    pub index: u32,
}

/// A unit of input, for instance the Kafka partition `topic/3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SplitId(pub String);

impl SplitId {
    /// The number of a Kafka partition, which stands behind the topic: `topic/7`. 0 for what has none.
    pub fn number(&self) -> u32 {
        self.0.rsplit_once('/').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a job id: 32 hexadecimal digits are expected")]
pub struct ParseJobIdError(String);

impl CheckpointId {
    /// Before the first epoch of a job: nothing was published yet.
    pub const ROOT: CheckpointId = CheckpointId(0);

    /// The id of an attempt's checkpoint.
    pub const fn new(token: Token, sequence: u32) -> Self {
        CheckpointId((token.0 as u64) << 32 | sequence as u64)
    }

    /// Whose checkpoint it is.
    pub const fn token(self) -> Token {
        Token((self.0 >> 32) as u32)
    }

    /// Which of the attempt's, from 1.
    pub const fn sequence(self) -> u32 {
        self.0 as u32
    }
}

/// As its file names and messages show it: `3.17`, token and sequence number.
impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.token(), self.sequence())
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.to_string()
    }
}

impl TryFrom<String> for Nonce {
    type Error = ParseNonceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Nonce).map_err(|_| ParseNonceError(text))
    }
}

/// The text is not a hexadecimal number of 128 bits.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a nonce: hexadecimal digits are expected")]
pub struct ParseNonceError(String);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = ParseJobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(JobId)
            .ok_or_else(|| ParseJobIdError(text.to_owned()))
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for JobId {
    type Error = ParseJobIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

macro_rules! displayed_as_its_value {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
displayed_as_its_value!(AttemptNumber, Token, StageIndex, SubtaskIndex, TaskManagerId, SplitId);

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.taskmanager, self.index)
    }
}

/// Which of a sink's tables rows are for: by its place among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableIndex(pub u16);

impl TableIndex {
    /// The job's result. Every other table is a side table.
    pub const RESULT: TableIndex = TableIndex(0);

    /// The index as a place in a list of all tables.
    pub fn place(self) -> usize {
        usize::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_id_reads_back_what_it_shows() {
        let id = JobId(0x1234_5678_9abc);
        assert_eq!(id.to_string(), "00000000000000000000123456789abc");
        assert_eq!(id.to_string().parse::<JobId>().expect("own text"), id);
    }

    #[test]
    fn checkpoint_ids_grow_with_token_and_sequence_and_fit_a_bigint() {
        let id = CheckpointId::new(Token(3), 17);
        assert_eq!((id.token(), id.sequence(), id.to_string()), (Token(3), 17, "3.17".to_owned()));
        assert!(CheckpointId::new(Token(3), u32::MAX) < CheckpointId::new(Token(4), 1));
        assert!(i64::try_from(CheckpointId::new(Token(u32::MAX >> 1), u32::MAX).0).is_ok());
    }

    #[test]
    fn job_id_refuses_other_texts() {
        for text in ["", "xyz", "+0000000000000000000123456789abc", "123"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }
}
