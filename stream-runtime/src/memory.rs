//! What the process takes of the machine's memory.

/// The resident memory of this process in bytes, as `ps` shows it; 0 where the system does not tell (only Linux does).
pub fn resident_bytes() -> u64 {
    std::fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_in(&status)).unwrap_or(0)
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(resident_in("Name:\tcat\nVmRSS:\t    1204 kB\nVmData:\t 5 kB\n"), Some(1204 * 1024));
        assert_eq!(resident_in("Name:\tkthreadd\n"), None);
        assert!(!cfg!(target_os = "linux") || resident_bytes() > 100_000);
    }
}
