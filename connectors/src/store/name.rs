//! The names of objects, checked before they become paths.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use stream_runtime::store::{StoreError, StoreErrorKind};

/// The path of an object below the root.
///
/// # Errors
/// If the name could lead out of the root, or into what is hidden there.
pub(super) fn object_path(root: &Path, name: &str) -> Result<PathBuf, StoreError> {
    check_name(name).map(|()| root.join(name))
}

/// The folder of a prefix: the root itself, or one below it.
///
/// # Errors
/// As [`object_path`].
pub(super) fn prefix_path(root: &Path, prefix: &str) -> Result<PathBuf, StoreError> {
    check_prefix(prefix).map(|()| root.join(prefix.trim_end_matches('/')))
}

/// Whether this is an object's name.
///
/// # Errors
/// If it is not.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    if is_name(name) { Ok(()) } else { Err(invalid(name)) }
}

/// Whether names may begin with this: with nothing, or a name and a `/`.
///
/// # Errors
/// If not.
pub(super) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    match prefix.strip_suffix('/') {
        None if prefix.is_empty() => Ok(()),
        Some(name) if is_name(name) => Ok(()),
        _ => Err(invalid(prefix)),
    }
}

/// In what objects are written before they have their names. No name of an object begins with a full stop.
pub(super) const UNFINISHED: &str = ".unfinished";

/// Stands for `/` in the name of an unfinished object. No name has it, and no store minds it.
const SEPARATOR: char = '!';

/// The name within [`UNFINISHED`] under which one writer writes an object: it tells whose it was to be.
pub(super) fn unfinished_name(object: &str) -> String {
    format!("{}{SEPARATOR}{}", object.replace('/', &SEPARATOR.to_string()), unused_name())
}

/// The object that a name within [`UNFINISHED`] was to be.
pub(super) fn object_of(unfinished: &str) -> Option<String> {
    let (object, _) = unfinished.rsplit_once(SEPARATOR)?;
    let object = object.replace(SEPARATOR, "/");
    is_name(&object).then_some(object)
}

/// A name that no other writer uses: of this process by the number, of another, on this machine or another, by chance.
#[allow(clippy::disallowed_methods, reason = "what a temporary object is called changes no run")]
pub(super) fn unused_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: OnceLock<u64> = OnceLock::new();
    // The seeds of a hash map are the one source of chance that the standard library has.
    let process = PROCESS.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    format!("{process:016x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
    };
    name.split('/').all(is_part)
}

fn invalid(name: &str) -> StoreError {
    let message = format!("{name:?} is no name of an object; it has parts of a-z, 0-9, `.`, `_` and `-` between `/`");
    StoreError::new(StoreErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfinished_tells_the_object_that_it_was_to_be() {
        let name = unfinished_name("7/state/1-2/1-0");
        assert!(!name.contains('/') && name != unfinished_name("7/state/1-2/1-0"), "{name}");
        assert_eq!(object_of(&name).as_deref(), Some("7/state/1-2/1-0"));
        for other in ["0123456789abcdef-0", "", "!x", ".hidden!x", "a!!b!x"] {
            assert_eq!(object_of(other), None, "{other}");
        }
    }
}
