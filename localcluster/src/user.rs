//! Whom to run as: Postgres refuses to be root, so root runs it as someone else.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Tried in this order: the one a Postgres package makes, then the one every Unix has.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// An account of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its login name.
    pub name: String,
    /// Its numeric user id.
    pub uid: u32,
    /// Its numeric group id.
    pub gid: u32,
}

/// There is no account to run Postgres as.
#[derive(Debug, thiserror::Error)]
#[error(
    "postgres refuses to run as root, and `/etc/passwd` has neither a user `postgres` nor `nobody`; add one (`useradd postgres`) or run as an ordinary user"
)]
pub struct NoUnprivilegedUser;

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whom to run Postgres as: nobody else (`None`) for an ordinary user, an unprivileged account for root.
///
/// # Errors
/// If we are root and the machine has no such account.
pub fn unprivileged() -> Result<Option<User>, NoUnprivilegedUser> {
    if !is_root() {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|_| NoUnprivilegedUser)?;
    choose(&passwd).map(Some).ok_or(NoUnprivilegedUser)
}

fn choose(passwd: &str) -> Option<User> {
    CANDIDATES.iter().find_map(|name| passwd.lines().filter_map(parse_line).find(|user| user.name == *name))
}

fn parse_line(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(User { name, uid, gid })
}

/// Whether any user may walk down to `path`: every folder on the way that exists lets others through.
#[must_use]
pub fn others_can_reach(path: &Path) -> bool {
    path.ancestors()
        .filter_map(|folder| folder.metadata().ok())
        .all(|meta| !meta.is_dir() || meta.permissions().mode() & 0o001 != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/nonexistent:/bin/false\n";

    #[test]
    fn nobody_is_used_where_postgres_is_missing() {
        assert_eq!(choose(PASSWD), Some(User { name: "nobody".into(), uid: 65534, gid: 65533 }));
    }

    #[test]
    fn postgres_is_preferred() {
        let passwd = format!("{PASSWD}postgres:x:101:104::/var/lib/postgresql:/bin/bash\n");
        assert_eq!(choose(&passwd).unwrap().uid, 101);
    }

    #[test]
    fn broken_lines_are_passed_over() {
        assert_eq!(choose("nobody\nnobody:x\nnobody:x:a:b:\n"), None);
    }

    #[test]
    fn a_closed_folder_on_the_way_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
        assert!(!others_can_reach(&inner.join("not-yet-there")));
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        assert!(others_can_reach(&inner));
    }
}
