//! The names of objects, checked before they become paths.

use std::path::{Path, PathBuf};

use stream_runtime::store::{StoreError, StoreErrorKind};

/// The path of an object below the root.
///
/// # Errors
/// If the name could lead out of the root, or into what is hidden there.
pub(super) fn object_path(root: &Path, name: &str) -> Result<PathBuf, StoreError> {
    if is_name(name) { Ok(root.join(name)) } else { Err(invalid(name)) }
}

/// The folder of a prefix: the root itself, or one below it.
///
/// # Errors
/// As [`object_path`].
pub(super) fn prefix_path(root: &Path, prefix: &str) -> Result<PathBuf, StoreError> {
    match prefix.strip_suffix('/') {
        Some(name) if is_name(name) => Ok(root.join(name)),
        None if prefix.is_empty() => Ok(root.to_path_buf()),
        _ => Err(invalid(prefix)),
    }
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
