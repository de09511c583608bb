//! What a user can choose about the job itself, checked once.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use web_intake::OnBadRecord;

/// The table that the rows go to.
pub const DEFAULT_TABLE: &str = "processed_events";
/// The ips whose locations one subtask keeps: about 10 MB.
pub const DEFAULT_CACHED_IPS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");

/// The job's options. They travel as JSON ([`Options::to_json`]) inside the pipeline, which nobody but this job reads. Unknown
/// fields are refused: they would be choices that nobody honours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What becomes of bad records.
    pub on_bad_record: OnBadRecord,
    /// How many ips' locations each subtask keeps, those that came by last.
    pub cached_ips: NonZeroU32,
}

/// Options that make no job.
#[derive(Debug, thiserror::Error)]
#[error("its options are not readable: {0}")]
pub struct InvalidOptions(#[from] serde_json::Error);

impl Options {
    /// Reads what [`Options::to_json`] wrote.
    ///
    /// # Errors
    /// If it is something else, or a value is out of range.
    pub fn from_json(json: &str) -> Result<Self, InvalidOptions> {
        Ok(serde_json::from_str(json)?)
    }

    /// The options as they travel.
    pub fn to_json(self) -> String {
        serde_json::to_string(&self).expect("numbers and names can always be written")
    }
}

impl Default for Options {
    /// Bad records are counted only.
    fn default() -> Self {
        Options { on_bad_record: OnBadRecord::Skip, cached_ips: DEFAULT_CACHED_IPS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_reads_back_and_foreign_options_are_refused() {
        let options = Options { on_bad_record: OnBadRecord::DeadLetter, ..Options::default() };
        assert_eq!(options.to_json(), r#"{"on_bad_record":"dead-letter","cached_ips":100000}"#);
        assert_eq!(Options::from_json(&options.to_json()).expect("own text"), options);
        for json in [
            "",
            "{}",
            r#"{"on_bad_record":"skip","cached_ips":0}"#,
            r#"{"on_bad_record":"skip","cached_ips":1,"gap":1}"#,
        ] {
            assert!(Options::from_json(json).is_err(), "{json}");
        }
    }
}
