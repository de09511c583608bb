//! Where new job ids and nonces come from. Randomness is an input: tests give their own.

use std::fs::File;
use std::io::{self, Read};

use stream_core::ids::{JobId, Nonce};

/// Gives ids that no job has had.
pub(crate) trait JobIds: Send {
    /// The next one.
    ///
    /// # Errors
    /// If the source of randomness fails.
    fn next_id(&mut self) -> io::Result<JobId>;

    /// A number that no attempt has had.
    ///
    /// # Errors
    /// If the source of randomness fails.
    fn next_nonce(&mut self) -> io::Result<Nonce> {
        self.next_id().map(|id| Nonce(id.0))
    }
}

/// 128 bits from the operating system's generator for each id.
#[derive(Debug)]
pub(crate) struct RandomJobIds {
    urandom: File,
}

impl RandomJobIds {
    /// Opens the generator.
    ///
    /// # Errors
    /// If the system has none.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(RandomJobIds { urandom: File::open("/dev/urandom")? })
    }
}

impl JobIds for RandomJobIds {
    fn next_id(&mut self) -> io::Result<JobId> {
        let mut bytes = [0; 16];
        self.urandom.read_exact(&mut bytes)?;
        Ok(JobId(u128::from_le_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_differ() {
        let mut ids = RandomJobIds::new().expect("the system has a generator");
        assert_ne!(ids.next_id().expect("an id"), ids.next_id().expect("another"));
    }
}
