//! Fail points: named places at which a process can be made to die, or to stand still, so that a test sees what follows.
//!
//! They are in every build, since what is tested is what is shipped, and stand where something of a checkpoint or a recovery
//! happens, never where an event passes: one that is not armed costs a load. One process arms at most one, by its environment:
//!
//! ```text
//! GAPWISE_FAIL_POINT=POINT[@SUBJECT][:TIME][:pause]
//! ```
//!
//! At the TIME-th arrival at the point (the first unless told otherwise), of that subject if one is named, the process says so in
//! its log and kills itself by SIGKILL; with `pause` it stops itself by SIGSTOP, and whoever sends SIGCONT has a zombie. The
//! subject of a point within a task is the task's name (`window[0]`), that of an object is its kind (`state`, `rows`,
//! `manifest`). Tests: the spelling beside the code, the places by `e2e/tests/clusters/kill_points`.

mod armed;
mod point;

use std::sync::OnceLock;

pub use armed::{Armed, Invalid};
pub use point::Point;

/// The variable that arms one.
pub const VARIABLE: &str = "GAPWISE_FAIL_POINT";

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms the fail point that the environment names, if it names one. To be called once, as the process begins.
///
/// # Errors
/// If it names none that there is, or is spelled otherwise.
pub fn arm_by_environment() -> Result<(), Invalid> {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let armed: Armed = text.to_string_lossy().parse()?;
    tracing::warn!(fail_point = %armed, "a fail point is armed: this process will not live long");
    // A second call changes nothing.
    let _ = ARMED.set(armed);
    Ok(())
}

/// A task, which its thread is named after, arrives at a point.
pub fn reach(point: Point) {
    if let Some(armed) = ARMED.get() {
        armed.reach(point, std::thread::current().name().unwrap_or_default());
    }
}

/// A subject arrives at a point.
pub fn reach_as(point: Point, subject: &str) {
    if let Some(armed) = ARMED.get() {
        armed.reach(point, subject);
    }
}
