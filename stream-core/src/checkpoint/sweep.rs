//! Which files nothing can need: those of attempts that are over which no manifest names.
//!
//! A checkpoint that was given up, and an attempt that died, leave files in the store that retention does not know of. An
//! attempt that has published an epoch of its own looks for them once.
//!
//! A file without a manifest is needed only by a manifest that is still to come. Ours to come name no file of an older attempt but
//! those that a manifest of ours names already: the chains of state that were restored are named by the first checkpoint that we
//! completed and are never gained later, and rows of before are among its pending epochs. An older attempt's to come may complete a checkpoint yet; but it
//! is fenced, and the sink shows an epoch of ours, which that checkpoint does not continue. So the token decides: files of
//! our own stay, whoever names them, since their manifest may be on its way.
//!
//! Tests: `stream-core/tests/sweep_properties.rs` compares with a rule that is too plain to be wrong; `sim` sweeps under every fault.

use std::collections::BTreeSet;

use super::manifest::Manifest;
use crate::ids::Token;

/// Something that a store holds below a job's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// As manifests name it.
    pub name: String,
    /// Where the store has it, in its own terms.
    pub place: String,
    /// The token that its name carries; none if it is no name of ours.
    pub token: Option<Token>,
    /// What it is.
    pub kind: ListedKind,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListedKind {
    /// A manifest: retention decides on those.
    Manifest,
    /// Any other object.
    File,
    /// What is left of an object that never got its name: a manifest that names it means another one.
    Unfinished,
}

/// What an attempt removes of what is listed. `manifests` are those that were there behind the list; `None` stands for one
/// that could not be read, which may name any file: nothing is removed then.
pub fn orphans<'a>(attempt: Token, listed: &'a [Listed], manifests: &[Option<Manifest>]) -> Vec<&'a Listed> {
    let read: Option<Vec<&Manifest>> = manifests.iter().map(Option::as_ref).collect();
    let Some(read) = read else { return Vec::new() };
    let named: BTreeSet<&str> = read.into_iter().flat_map(Manifest::files).collect();
    let is_needed = |listed: &Listed| match listed.kind {
        ListedKind::Manifest => true,
        ListedKind::File => named.contains(listed.name.as_str()),
        ListedKind::Unfinished => false,
    };
    let is_older = |listed: &Listed| listed.token.is_some_and(|token| token < attempt);
    listed.iter().filter(|listed| is_older(listed) && !is_needed(listed)).collect()
}
