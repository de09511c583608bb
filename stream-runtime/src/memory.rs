//! What the process takes of the machine's memory.
//!
//! The allocator asks for huge pages, since much state that is touched at random is faster in them. For a process that holds little they
//! are a loss: a page of 2 MiB counts as a whole, and is zeroed as a whole, as soon as one byte of it is touched.

/// Resident memory from which huge pages pay. A job that reads a file at full speed and has 50,000 sessions open takes some 100 MB without
/// them; with them it takes half as much again, and the kernel a fifth of its time to zero that. State of this size outgrows
/// every cache of translations. What was touched before is joined into huge pages by the kernel (`khugepaged`) in time.
pub const HUGE_PAGES_FROM_BYTES: u64 = 192 << 20;

/// Whether huge pages are held back from this process until it has something to hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct HugePages {
    are_held_back: bool,
}

impl HugePages {
    /// Holds them back from now on. Who forbade them before did so for good.
    pub fn hold_back() -> Self {
        HugePages { are_held_back: set_huge_pages_disabled(true) }
    }

    /// Allows them once so many bytes are resident that they pay.
    pub fn allow_for(&mut self, resident_bytes: u64) {
        if resident_bytes >= HUGE_PAGES_FROM_BYTES {
            self.allow();
        }
    }

    /// From now on there is something to hold.
    pub fn allow(&mut self) {
        if std::mem::take(&mut self.are_held_back) {
            set_huge_pages_disabled(false);
        }
    }
}

/// Whether that changed anything.
#[cfg(target_os = "linux")]
fn set_huge_pages_disabled(are_disabled: bool) -> bool {
    use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};
    transparent_huge_pages_are_disabled() == Ok(!are_disabled) && disable_transparent_huge_pages(are_disabled).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn set_huge_pages_disabled(_are_disabled: bool) -> bool {
    false
}

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

    #[cfg(target_os = "linux")]
    #[test]
    fn huge_pages_are_held_back_and_allowed_again_by_who_held_them_back() {
        use rustix::thread::transparent_huge_pages_are_disabled as are_disabled;
        if are_disabled() != Ok(false) {
            return;
        }
        let mut huge_pages = HugePages::hold_back();
        assert_eq!(are_disabled(), Ok(true));
        HugePages::hold_back().allow();
        assert_eq!(are_disabled(), Ok(true), "another had forbidden them");
        huge_pages.allow();
        assert_eq!(are_disabled(), Ok(false));
        huge_pages = HugePages::hold_back();
        huge_pages.allow_for(HUGE_PAGES_FROM_BYTES - 1);
        assert_eq!(are_disabled(), Ok(true), "they do not pay yet");
        huge_pages.allow_for(HUGE_PAGES_FROM_BYTES);
        assert_eq!(are_disabled(), Ok(false));
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(resident_in("Name:\tcat\nVmRSS:\t    1204 kB\nVmData:\t 5 kB\n"), Some(1204 * 1024));
        assert_eq!(resident_in("Name:\tkthreadd\n"), None);
        assert!(!cfg!(target_os = "linux") || resident_bytes() > 100_000);
    }
}
