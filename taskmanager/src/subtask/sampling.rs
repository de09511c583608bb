//! One record of many is followed: from its Kafka record to the commit that shows what became of it.
//!
//! A source picks it and sends a [`Traced`] behind the batch that it is in. An operator keeps that until the event is in no open window
//! any more, and sends it on behind the rows; the committer keeps it until the epoch of these rows is published. Each tells a span, which
//! is the parent of the next. What a restart interrupts is not followed to its end.

use std::time::Duration;

use stream_core::ids::CheckpointId;
use stream_core::operator::Operator;
use telemetry::trace::SpanRef;

use crate::exchange::message::Traced;
use crate::subtask::spans::SubtaskSpans;

/// Records that an operator or a committer follows at once; of more, the latest are let go.
const FOLLOWED: usize = 256;

/// Picks one record of so many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    every: u64,
    /// Records until the next.
    left: u64,
}

impl Sampler {
    /// The first record is the first to be followed.
    pub(crate) fn one_of(every: u64) -> Self {
        Sampler { every: every.max(1), left: 0 }
    }

    /// How many records come before the next that is to be followed.
    pub(crate) fn left(self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// So many records were taken; if one was followed, it was the last. A source that cannot follow any goes on past its turn.
    pub(crate) fn pass(&mut self, taken: usize, is_followed: bool) {
        self.left = match is_followed && taken > 0 {
            true => self.every - 1,
            false => self.left.saturating_sub(taken as u64),
        };
    }
}

/// What a header says of who wrote the record: version, trace, span, flags in hexadecimal
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
pub(crate) fn trace_parent(header: &[u8]) -> Option<SpanRef> {
    let mut parts = std::str::from_utf8(header).ok()?.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let is_lower_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_whole = version.len() == 2 && version != "ff" && trace.len() == 32 && span.len() == 16;
    if !is_whole || ![version, trace, span].into_iter().all(is_lower_hex) {
        return None;
    }
    let place = SpanRef { trace: u128::from_str_radix(trace, 16).ok()?, span: u64::from_str_radix(span, 16).ok()? };
    (place.trace != 0 && place.span != 0).then_some(place)
}

/// The events that an operator follows.
#[derive(Debug, Default)]
pub(crate) struct FollowedEvents(Vec<(Traced, Duration)>);

impl FollowedEvents {
    /// One has come.
    pub(crate) fn add(&mut self, traced: Traced, now: Duration) {
        if self.0.len() < FOLLOWED {
            self.0.push((traced, now));
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes those that the operator holds no more, told of as spans.
    pub(crate) fn take_released(
        &mut self,
        operator: &dyn Operator,
        now: Duration,
        spans: Option<&SubtaskSpans>,
    ) -> Vec<Traced> {
        let mut released = Vec::new();
        self.0.retain(|(traced, came)| {
            let is_held = operator.holds(traced.hash, &traced.key, traced.time);
            if !is_held {
                let took = now.saturating_sub(*came);
                let place = spans.map_or(traced.place, |spans| spans.tell_followed(traced.place, "window", took, None));
                released.push(Traced { place, ..traced.clone() });
            }
            is_held
        });
        released
    }
}

/// The records whose rows wait to be published.
#[derive(Debug, Default)]
pub(crate) struct FollowedRows {
    gathered: Vec<(SpanRef, Duration)>,
    sealed: Vec<(CheckpointId, SpanRef, Duration)>,
}

impl FollowedRows {
    /// The rows of one have come.
    pub(crate) fn add(&mut self, place: SpanRef, now: Duration) {
        if self.gathered.len() + self.sealed.len() < FOLLOWED {
            self.gathered.push((place, now));
        }
    }

    /// What has come belongs to this epoch.
    pub(crate) fn seal(&mut self, epoch: CheckpointId) {
        self.sealed.extend(self.gathered.drain(..).map(|(place, came)| (epoch, place, came)));
    }

    /// An epoch, and with it those before it, is visible.
    pub(crate) fn on_published(&mut self, epoch: CheckpointId, now: Duration, spans: Option<&SubtaskSpans>) {
        self.sealed.retain(|&(sealed, place, came)| {
            let is_visible = sealed <= epoch;
            if let Some(spans) = spans.filter(|_| is_visible) {
                spans.tell_followed(place, "commit", now.saturating_sub(came), Some(epoch));
            }
            !is_visible
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_so_many_is_followed_whatever_the_batches() {
        for batch in [1, 3, 7, 100] {
            let (mut sampler, mut followed, mut taken) = (Sampler::one_of(100), 0, 0);
            while taken < 1000 {
                let count = batch.min(sampler.left().max(1));
                followed += usize::from(sampler.left() == 0);
                sampler.pass(count, sampler.left() == 0);
                taken += count;
            }
            assert_eq!(followed, 10, "batches of {batch}");
        }
        let mut all = Sampler::one_of(1);
        all.pass(0, true);
        assert_eq!(all.left(), 0, "one that was left for later is followed later");
        all.pass(1, true);
        assert_eq!(all.left(), 0);
    }

    #[test]
    fn header_of_another_form_is_none() {
        let header = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let place = SpanRef { trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span: 0xb7ad_6b71_6920_3331 };
        assert_eq!(trace_parent(header), Some(place));
        for other in [
            &b""[..],
            b"00-0af7651916cd43dd8448eb211c80319c",
            b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
            b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\xff-01",
        ] {
            assert_eq!(trace_parent(other), None, "{}", String::from_utf8_lossy(other));
        }
    }
}
