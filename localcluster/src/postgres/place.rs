//! Where a server's data may live.

use std::path::{Path, PathBuf};

use crate::user::{User, others_can_reach};

/// Only root can write here, so nobody can lay a trap under a name that can be guessed.
const FOR_ROOT: &str = "/var/lib";

/// `wanted`, unless the server runs as another user who cannot get there.
///
/// A clone under `/root` is closed to everyone else, and so is a temporary folder made by root. Then the data goes to
/// `/var/lib/gapwise-HASH`, with a hash of the wanted path, so that each clone finds its own again.
#[must_use]
pub fn place(wanted: &Path, run_as: Option<&User>) -> PathBuf {
    if run_as.is_none() || others_can_reach(wanted) {
        return wanted.to_owned();
    }
    Path::new(FOR_ROOT).join(format!("gapwise-{:016x}", fnv1a(wanted.as_os_str().as_encoded_bytes())))
}

/// Where [`place`] has moved the data of `wanted`, if that is elsewhere.
#[must_use]
pub fn moved_from(wanted: &Path) -> Option<PathBuf> {
    let home = place(wanted, crate::user::unprivileged().ok()?.as_ref());
    (home != wanted).then_some(home)
}

/// FNV-1a, 64 bits: a short name for a path, nothing more.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn hash_is_fnv1a() {
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn only_another_user_moves_the_data() {
        let closed = tempfile::tempdir().unwrap();
        std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let wanted = closed.path().join("postgres");
        let nobody = User { name: "nobody".into(), uid: 65534, gid: 65534 };
        assert_eq!(place(&wanted, None), wanted);
        let moved = place(&wanted, Some(&nobody));
        assert!(moved.starts_with("/var/lib"));
        assert_ne!(moved, place(&closed.path().join("other"), Some(&nobody)));
        std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(place(&wanted, Some(&nobody)), wanted);
    }
}
