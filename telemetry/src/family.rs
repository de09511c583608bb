//! A family of metrics: all that is measured of one kind of thing, a task say, with how each is read off it.
//!
//! Reading happens when somebody asks, from what the process holds of each thing anyway. What is not there (the watermark of a sink) is
//! left out, and so is what does not exist any more: nothing is kept of a job that has ended.

use crate::metric::Metric;

/// What is measured of each `T`.
#[derive(Debug)]
pub struct Family<T: 'static> {
    /// What of, for the documentation.
    pub title: &'static str,
    /// Said of all of them, for the documentation.
    pub about: &'static str,
    /// The names of the attributes that tell one `T` from another. Values come from configuration, never from events.
    pub attributes: &'static [&'static str],
    /// Their values, in the same order.
    pub values: fn(&T) -> Vec<String>,
    /// The metrics.
    pub metrics: &'static [Reading<T>],
}

/// A metric and how it is read.
#[derive(Debug)]
pub struct Reading<T: 'static> {
    /// Which.
    pub metric: Metric,
    /// How.
    pub read: Read<T>,
}

/// How a metric is read off a `T`.
#[derive(Debug)]
pub enum Read<T: 'static> {
    /// It has one value, or none.
    One(fn(&T) -> Option<f64>),
    /// It has a value for each of some phases or states: a further attribute, and its values.
    Each(&'static str, fn(&T) -> Vec<(&'static str, f64)>),
}

/// A histogram, for the documentation; it is recorded as things happen.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// Which.
    pub metric: Metric,
    /// The names of its attributes.
    pub attributes: &'static [&'static str],
}

/// A count as the value of a metric: exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "no count gets there, and it would be off by one in 10^16")]
pub fn number(count: u64) -> f64 {
    count as f64
}

impl<T> Reading<T> {
    /// All attributes of the metric in a family.
    pub fn attributes(&self, family: &Family<T>) -> Vec<&'static str> {
        let own = match self.read {
            Read::One(_) => None,
            Read::Each(attribute, _) => Some(attribute),
        };
        family.attributes.iter().copied().chain(own).collect()
    }
}
