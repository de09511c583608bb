//! What checkpoints cost, from what `jobctl checkpoints --output json` says of each.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result};
use e2e::job;
use serde_json::{Value, json};

/// A completed checkpoint's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Whether it needs nothing that was written before it.
    pub(crate) is_full: bool,
    pub(crate) written_bytes: u64,
    pub(crate) took_ms: u64,
    /// The longest that a subtask stood still for it.
    pub(crate) pause_us: u64,
    /// The longest that a subtask waited for the last of its inputs' barriers.
    pub(crate) alignment_us: u64,
    /// Events that had been read at its cut.
    pub(crate) read: u64,
}

/// What an incremental checkpoint wrote, and how many sessions changed since the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) changed: u64,
    pub(crate) written_bytes: u64,
}

/// The checkpoints of a job that were triggered while it was measured, by their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Costs {
    /// By epoch.
    completed: BTreeMap<u64, Cost>,
    /// With the reasons.
    aborted: BTreeMap<u64, String>,
}

impl Costs {
    /// Takes in an answer of `jobctl checkpoints`. Checkpoints triggered before `since_ms` are passed over.
    pub(crate) fn read(&mut self, answer: &[Value], since_ms: i64) -> Result<()> {
        for shown in answer {
            let triggered_ms = shown["triggered_ms"].as_i64().context("`triggered_ms` is missing")?;
            if triggered_ms < since_ms {
                continue;
            }
            let id = job::epoch(shown["id"].as_str().context("`id` is missing")?)?;
            match shown["state"].as_str() {
                Some("completed") => drop(self.completed.insert(id, cost(shown, triggered_ms)?)),
                Some("aborted") => drop(self.aborted.insert(id, shown["reason"].to_string())),
                _ => {}
            }
        }
        Ok(())
    }

    /// Those that are full, or those that are not.
    pub(crate) fn of(&self, is_full: bool) -> Vec<Cost> {
        self.completed.values().copied().filter(|cost| cost.is_full == is_full).collect()
    }

    /// Why checkpoints were given up.
    pub(crate) fn aborted(&self) -> Vec<String> {
        self.aborted.iter().map(|(&id, reason)| format!("{}: {reason}", shown_id(id))).collect()
    }

    /// The events between each incremental checkpoint and the one before it, and what it wrote.
    pub(crate) fn deltas(&self) -> Vec<(Range<u64>, u64)> {
        let pairs = self.completed.values().zip(self.completed.values().skip(1));
        let deltas = pairs.filter(|(before, this)| !this.is_full && before.read <= this.read);
        deltas.map(|(before, this)| (before.read..this.read, this.written_bytes)).collect()
    }

    /// Every checkpoint, for programs.
    pub(crate) fn to_json(&self) -> Value {
        let all = self.completed.iter().map(|(&id, cost)| {
            json!({
                "id": shown_id(id),
                "is_full": cost.is_full,
                "written_bytes": cost.written_bytes,
                "took_ms": cost.took_ms,
                "pause_us": cost.pause_us,
                "alignment_us": cost.alignment_us,
                "events_read": cost.read,
            })
        });
        all.collect()
    }
}

fn shown_id(epoch: u64) -> String {
    format!("{}.{}", epoch >> 32, epoch & 0xffff_ffff)
}

fn cost(shown: &Value, triggered_ms: i64) -> Result<Cost> {
    let number = |name: &str| shown[name].as_u64().with_context(|| format!("`{name}` is missing: {shown}"));
    let ended_ms = shown["ended_ms"].as_i64().context("a completed checkpoint has no end")?;
    let written_bytes = number("written_bytes")?;
    Ok(Cost {
        is_full: written_bytes == number("total_bytes")?,
        written_bytes,
        took_ms: u64::try_from(ended_ms - triggered_ms).unwrap_or(0),
        pause_us: number("pause_us")?,
        alignment_us: number("alignment_us")?,
        read: shown["accounts"]["read"].as_u64().with_context(|| format!("`accounts` are missing: {shown}"))?,
    })
}

/// The value that so many per cent do not exceed (nearest rank); 0 of none.
pub(crate) fn percentile(costs: &[Cost], percent: usize, value: impl Fn(&Cost) -> u64) -> u64 {
    let mut values: Vec<u64> = costs.iter().map(value).collect();
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(id: &str, state: &str, triggered_ms: i64, written: u64, total: u64) -> Value {
        json!({
            "id": id, "state": state, "triggered_ms": triggered_ms, "ended_ms": triggered_ms + 40, "reason": "the disk is full",
            "written_bytes": written, "total_bytes": total, "pause_us": 7, "alignment_us": 9,
            "accounts": { "read": 10 * total },
        })
    }

    #[test]
    fn checkpoints_are_taken_once_and_told_apart_by_what_they_need() {
        let mut costs = Costs::default();
        let answer = [
            shown("1.4", "pending", 30, 0, 0),
            shown("1.3", "aborted", 20, 0, 0),
            shown("1.2", "completed", 10, 5, 105),
            shown("1.1", "completed", 10, 100, 100),
            shown("1.0", "completed", 9, 1, 1),
        ];
        costs.read(&answer, 10).expect("well-formed");
        costs.read(&answer, 10).expect("well-formed");
        let cost = |is_full, written_bytes, read| Cost {
            is_full,
            written_bytes,
            took_ms: 40,
            pause_us: 7,
            alignment_us: 9,
            read,
        };
        assert_eq!((costs.of(true), costs.of(false)), (vec![cost(true, 100, 1000)], vec![cost(false, 5, 1050)]));
        assert_eq!(costs.aborted(), ["1.3: \"the disk is full\""]);
    }

    #[test]
    fn a_delta_holds_what_came_since_the_checkpoint_before_whatever_that_was() {
        let mut costs = Costs::default();
        let answer = [(1, 100, 100), (9, 5, 105), (10, 7, 112), (11, 120, 120)]
            .map(|(number, written, total)| shown(&format!("1.{number}"), "completed", 0, written, total));
        costs.read(&answer, 0).expect("well-formed");
        assert_eq!(costs.deltas(), [(1000..1050, 5), (1050..1120, 7)]);
    }

    #[test]
    fn an_answer_without_a_figure_is_an_error() {
        let mut bad = shown("1.1", "completed", 0, 1, 1);
        bad["pause_us"] = Value::Null;
        let error = Costs::default().read(&[bad], 0).expect_err("a figure is missing");
        assert!(error.to_string().starts_with("`pause_us` is missing"), "{error}");
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let costs: Vec<Cost> = (1..=10)
            .map(|pause_us| Cost { is_full: true, written_bytes: 0, took_ms: 0, pause_us, alignment_us: 0, read: 0 })
            .collect();
        let pause = |percent| percentile(&costs, percent, |cost| cost.pause_us);
        assert_eq!([pause(50), pause(51), pause(100)], [5, 6, 10]);
        assert_eq!(percentile(&[], 50, |cost| cost.pause_us), 0);
    }
}
