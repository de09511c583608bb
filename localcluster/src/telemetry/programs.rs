//! Where Prometheus, Grafana and a collector of OpenTelemetry are on this machine, if they are.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{cache, program};

/// Where Debian's package and Grafana's own put what the program needs beside itself.
pub(super) const GRAFANA_HOME: &str = "/usr/share/grafana";

/// Prometheus: on the `PATH`, or as `scripts/telemetry-tools` built it.
#[must_use]
pub fn prometheus() -> Option<PathBuf> {
    program::on_path("prometheus").or_else(|| built(&cache::dir(), "prometheus"))
}

/// A collector of OpenTelemetry, found likewise.
#[must_use]
pub fn collector() -> Option<PathBuf> {
    program::on_path("otelcol").or_else(|| built(&cache::dir(), "otelcol"))
}

/// Grafana: on the `PATH`.
#[must_use]
pub fn grafana() -> Option<PathBuf> {
    program::on_path("grafana").filter(|_| Path::new(GRAFANA_HOME).is_dir())
}

/// The program in the folder of the cache that was made last; there is one for each version.
fn built(cache: &Path, name: &str) -> Option<PathBuf> {
    let folders = fs::read_dir(cache).ok()?.filter_map(Result::ok);
    let of_tools = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with("telemetry-"));
    let programs = of_tools.map(|folder| folder.path().join(name)).filter(|file| program::is_executable(file));
    programs.max_by_key(|file| file.metadata().and_then(|meta| meta.modified()).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_built_is_found_in_the_cache_if_it_can_be_executed() {
        let cache = std::env::temp_dir().join(format!("gapwise-programs-{}", std::process::id()));
        let tools = cache.join("telemetry-v1-v2");
        fs::create_dir_all(&tools).unwrap();
        assert_eq!(built(&cache, "otelcol"), None);
        let file = tools.join("otelcol");
        fs::write(&file, "").unwrap();
        assert_eq!(built(&cache, "otelcol"), None, "half built");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(built(&cache, "otelcol"), Some(file));
        assert_eq!(built(&cache, "prometheus"), None);
        fs::remove_dir_all(&cache).unwrap();
    }
}
