//! Where downloads are kept between clones: Apache Kafka's jars, a Postgres.

use std::path::PathBuf;

/// The folder for downloads: `GAPWISE_CACHE_DIR`, else `$XDG_CACHE_HOME/gapwise` or `~/.cache/gapwise`.
///
/// For root it is `/var/cache/gapwise`: a Postgres that is kept there runs as another user, who cannot look into `/root`.
#[must_use]
pub fn dir() -> PathBuf {
    place(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from), crate::user::is_root())
}

fn place(var: impl Fn(&str) -> Option<PathBuf>, is_root: bool) -> PathBuf {
    if let Some(dir) = var("GAPWISE_CACHE_DIR") {
        return dir;
    }
    if is_root {
        return PathBuf::from("/var/cache/gapwise");
    }
    if let Some(dir) = var("XDG_CACHE_HOME") {
        return dir.join("gapwise");
    }
    match var("HOME") {
        Some(home) => home.join(".cache/gapwise"),
        None => std::env::temp_dir().join("gapwise-cache"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_settings_decides() {
        let all = |name: &str| Some(PathBuf::from(format!("/{name}")));
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/ada"));
        assert_eq!(place(all, true), PathBuf::from("/GAPWISE_CACHE_DIR"));
        assert_eq!(place(home, false), PathBuf::from("/home/ada/.cache/gapwise"));
        assert_eq!(place(home, true), PathBuf::from("/var/cache/gapwise"));
    }
}
