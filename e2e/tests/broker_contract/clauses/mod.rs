//! The clauses. Each makes topics of its own, so that they do not depend on each other.

pub(crate) mod deletion;
pub(crate) mod groups;
pub(crate) mod offsets;
pub(crate) mod records;
pub(crate) mod restart;
pub(crate) mod topics;
pub(crate) mod transactions;
