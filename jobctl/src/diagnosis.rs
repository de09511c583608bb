//! Why a job shows no results: what its figures say, in the words of somebody who knows where each of them leads.
//!
//! A pure function over two looks at the job, so that each cause can be shown by an example. A job can have several causes at
//! once; the first is the one to begin with.

use std::time::Duration;

use serde::Serialize;
use stream_core::pipeline::SourceSpec;
use stream_core::time::{Timestamp, millis};
use stream_runtime::duration;

use crate::render::span;
use crate::view::{JobDetails, Split, Subtask};

/// A watermark further ahead of the clock than clocks may differ was made by a record from the future.
const FUTURE: Duration = Duration::from_secs(60);
/// The part of its time that a subtask must have waited for the next one, in percent, to be held up by it.
const HELD_UP_PERCENT: u64 = 50;
/// A partition that is at its end for less than this is one that live traffic comes in.
const SILENT: Duration = Duration::from_secs(2);
/// A taskmanager that so many heartbeats are missing of stands still.
const MISSING_HEARTBEATS: u32 = 3;

/// What holds a job up. The words are for programs, and stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// The job has ended.
    Ended,
    /// It waits for slots that are not there.
    NoFreeSlot,
    /// It comes back from a failure.
    Restarting,
    /// A subtask is not there yet.
    NotRunning,
    /// A taskmanager stands still, and is not lost yet.
    TaskmanagerSilent,
    /// What is done cannot be published.
    SinkUnavailable,
    /// The sources pause until the sink has caught up.
    SinkBehind,
    /// A stage is slower than the one before it.
    Backpressure,
    /// A record from the future closed what is now.
    FutureRecord,
    /// Nobody sends anything.
    AllIdle,
    /// A partition without records holds the others back.
    SilentPartition,
    /// There is more to read before event time gets on.
    PartitionBehind,
}

/// One thing that holds a job up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) cause: Cause,
    /// What is so.
    pub(crate) what: String,
    /// What can be done about it.
    pub(crate) advice: String,
}

/// What there is to know of a job.
pub(crate) struct Facts<'a> {
    /// The job some seconds ago.
    pub(crate) before: &'a JobDetails,
    /// The job.
    pub(crate) now: &'a JobDetails,
    /// What it reads.
    pub(crate) source: &'a SourceSpec,
    /// The cluster's slots that no job holds.
    pub(crate) free_slots: u32,
    /// The cluster's taskmanagers, each with how long it was not heard.
    pub(crate) silences: &'a [(String, Duration)],
    /// How often each is to be heard.
    pub(crate) heartbeat_interval: Duration,
    /// The time.
    pub(crate) clock: Timestamp,
}

/// What holds the job up, the most pressing first; nothing if nothing does.
pub(crate) fn diagnose(facts: &Facts<'_>) -> Vec<Finding> {
    let state = facts.now.job.state;
    if ["failed", "canceled", "finished"].contains(&state) {
        return vec![ended(facts.now)];
    }
    let mut findings = Vec::new();
    findings.extend(not_running(facts));
    findings.extend(silent_taskmanagers(facts));
    findings.extend(facts.now.subtasks.iter().filter_map(sink_unavailable));
    findings.extend(sink_behind(facts.now));
    findings.extend(backpressure(facts));
    findings.extend(future_record(facts));
    if state == "running" {
        findings.extend(event_time(facts));
    }
    findings
}

/// The split that holds the watermark of all back: of those that count, the one with the least watermark.
pub(crate) fn holder(splits: &[Split]) -> Option<&Split> {
    splits.iter().filter(|split| split.state == "active").min_by_key(|split| split.watermark_ms)
}

fn finding(cause: Cause, what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { cause, what: what.into(), advice: advice.into() }
}

fn ended(details: &JobDetails) -> Finding {
    let job = &details.job;
    let why = job.causes.first().map(|cause| format!(": {cause}")).unwrap_or_default();
    let advice = match job.state {
        "failed" => "mend the cause, then submit it again with --from-savepoint, or from where its checkpoints are",
        _ => "submit it again; with --from-savepoint it goes on from where it was stopped",
    };
    finding(Cause::Ended, format!("the job is {}{why}", job.state), advice)
}

fn not_running(facts: &Facts<'_>) -> Option<Finding> {
    let now = facts.now;
    if let Some(needed) = now.slots_needed {
        let free = facts.free_slots;
        return Some(finding(
            Cause::NoFreeSlot,
            format!("the job needs {needed} free slots, and the cluster has {free}"),
            "start another taskmanager, cancel another job, or rescale: it goes on by itself once there are enough",
        ));
    }
    if now.job.state == "restarting" || now.job.state == "failing" {
        let what = now.waiting_for.as_deref().unwrap_or("its tasks to end");
        let why = now.last_failure.first().map(|cause| format!(", after: {cause}")).unwrap_or_default();
        return Some(finding(
            Cause::Restarting,
            format!("the job is {} and waits for {what}{why}", now.job.state),
            format!("`jobctl describe {}` has the whole chain of causes", now.job.name),
        ));
    }
    let absent = now.subtasks.iter().find(|subtask| subtask.state != "running" && subtask.state != "finished")?;
    Some(finding(
        Cause::NotRunning,
        format!("{} on {} is {}", name(absent), absent.taskmanager, absent.state),
        "it opens its source, its state or its sink: if it stays so, the taskmanager's log says on what it waits",
    ))
}

/// Those that stand still while their connections are open, as behind a SIGSTOP: whoever sends to one has to wait, and so have the
/// sources that are kept in step with its own, which no back-pressure tells.
fn silent_taskmanagers(facts: &Facts<'_>) -> impl Iterator<Item = Finding> {
    let limit = facts.heartbeat_interval * MISSING_HEARTBEATS;
    let silent = facts.silences.iter().filter(move |(_, silence)| *silence >= limit);
    silent.filter_map(|(taskmanager, silence)| {
        let its = facts.now.subtasks.iter().filter(|subtask| subtask.taskmanager == *taskmanager);
        let tasks: Vec<String> = its.map(name).collect();
        let (shown, interval) = (span(0, millis(*silence)), duration::show(facts.heartbeat_interval));
        (!tasks.is_empty()).then(|| {
            finding(
                Cause::TaskmanagerSilent,
                format!("{taskmanager} was not heard for {shown}, and is to be each {interval}: {} stand still", tasks.join(", ")),
                "see whether its process is stopped, its machine overloaded or its network away: behind the jobmanager's \
                 --heartbeat-timeout it is lost, and the job goes on elsewhere",
            )
        })
    })
}

fn sink_unavailable(subtask: &Subtask) -> Option<Finding> {
    let trouble = subtask.trouble.as_ref()?;
    let mebibytes = subtask.unpublished_bytes >> 20;
    Some(finding(
        Cause::SinkUnavailable,
        format!("{} cannot publish: {trouble}; {mebibytes} MiB of rows wait", name(subtask)),
        "nothing is lost, and checkpoints go on: what waits is published once the sink takes it",
    ))
}

fn sink_behind(now: &JobDetails) -> Option<Finding> {
    let paused: Vec<String> = now.subtasks.iter().filter(|subtask| subtask.is_paused).map(name).collect();
    let waiting: u64 = now.subtasks.iter().map(|subtask| subtask.unpublished_bytes).sum();
    (!paused.is_empty()).then(|| {
        finding(
            Cause::SinkBehind,
            format!("{} pause: {} MiB of rows wait for the sink", paused.join(", "), waiting >> 20),
            "they go on once the sink has taken half of it: see what the database is busy with",
        )
    })
}

fn backpressure(facts: &Facts<'_>) -> Option<Finding> {
    let stages = stages(&facts.now.subtasks);
    // The last stage that is held up: the one behind it is the slow one.
    stages.windows(2).rev().find_map(|pair| {
        let (upstream, downstream) = (pair[0], pair[1]);
        let (held_up, percent) = most(facts, upstream, |subtask| subtask.backpressured_ms, None)?;
        if percent < HELD_UP_PERCENT {
            return None;
        }
        let (slow, busy) = most(facts, downstream, |subtask| subtask.busy_ms, Some(100))?;
        let (held_up, slow_name) = (name(held_up), name(slow));
        Some(finding(
            Cause::Backpressure,
            format!(
                "{held_up} waited for stage `{downstream}` {percent} % of the last seconds; there {slow_name} on {} was busiest, \
                 {busy} % of its time",
                slow.taskmanager
            ),
            "rescale to more subtasks if there are free cores; if one key has most of the events, no number of subtasks helps; a \
             taskmanager that stands still shows in its log",
        ))
    })
}

/// The stages' names, each once, in their order.
fn stages(subtasks: &[Subtask]) -> Vec<&str> {
    let mut stages: Vec<&str> = subtasks.iter().map(|subtask| subtask.stage.as_str()).collect();
    stages.dedup();
    stages
}

/// The subtask of a stage that spent the largest part of its time in one way, and that part in percent. One of which no time is
/// accounted for has been in the midst of one step, or cannot tell: it counts as `unaccounted`.
fn most<'a>(
    facts: &Facts<'a>,
    stage: &str,
    way: fn(&Subtask) -> u64,
    unaccounted: Option<u64>,
) -> Option<(&'a Subtask, u64)> {
    let subtasks = facts.now.subtasks.iter().filter(|subtask| subtask.stage == stage);
    let shares = subtasks.filter_map(|now| {
        let is_it = |before: &&Subtask| (&before.stage, before.index) == (&now.stage, now.index);
        let before = facts.before.subtasks.iter().find(is_it)?;
        let passed = |part: fn(&Subtask) -> u64| part(now).saturating_sub(part(before));
        let all = passed(|s| s.busy_ms) + passed(|s| s.idle_ms) + passed(|s| s.backpressured_ms);
        Some((now, (passed(way) * 100).checked_div(all).or(unaccounted)?))
    });
    shares.max_by_key(|(_, share)| *share)
}

fn future_record(facts: &Facts<'_>) -> Option<Finding> {
    let from = facts.clock.0.saturating_add(millis(FUTURE));
    let is_ahead = |split: &&Split| split.watermark_ms.is_some_and(|at| at > from && at < i64::MAX);
    let split = facts.now.splits.iter().filter(is_ahead).max_by_key(|split| split.watermark_ms)?;
    let ahead = span(facts.clock.0, split.watermark_ms?);
    let advice = match facts.source.max_future.is_zero() {
        true => "submit it with --max-future 1h: such a record then goes to the dead letters and closes nothing",
        false => "lower --max-future, and mend the clock of whoever sent it",
    };
    Some(finding(
        Cause::FutureRecord,
        format!(
            "{} had a record of {ahead} in the future: its watermark is there, and what is earlier is late",
            split.id
        ),
        advice,
    ))
}

fn event_time(facts: &Facts<'_>) -> Option<Finding> {
    let splits = &facts.now.splits;
    if let Some(holder) = holder(splits) {
        return held_by(holder, facts);
    }
    let is_silent = splits.iter().any(|split| split.state == "idle");
    is_silent.then(|| {
        let longest = splits.iter().map(|split| split.silent_ms).max().unwrap_or_default();
        let silent = span(0, longest.try_into().unwrap_or(i64::MAX));
        let advice = match facts.source.close_when_idle {
            Duration::ZERO => {
                "open sessions wait for the next event; with --close-when-idle the clock ends them".to_owned()
            }
            limit => format!("the clock ends open sessions: each has ended after {} of silence", duration::show(limit)),
        };
        finding(Cause::AllIdle, format!("no partition has anything to read, for up to {silent}"), advice)
    })
}

fn held_by(split: &Split, facts: &Facts<'_>) -> Option<Finding> {
    let at = match split.watermark_ms {
        None => "before its first event".to_owned(),
        Some(ms) => format!("at {}", crate::render::time(ms)),
    };
    let silent = Duration::from_millis(split.silent_ms);
    if silent >= SILENT {
        let shown = span(0, millis(silent));
        let timeout = facts.source.idle_timeout;
        let advice = match timeout {
            Duration::ZERO => {
                "it will do so until it has an event: --idle-timeout 30s leaves out what is silent".to_owned()
            }
            _ => {
                let left = duration::show(Duration::from_secs(timeout.saturating_sub(silent).as_secs()));
                format!("it is left out after {} of silence, in {left}", duration::show(timeout))
            }
        };
        let what = format!("{} holds the watermark back, {at}: it is at its end and silent for {shown}", split.id);
        return Some(finding(Cause::SilentPartition, what, advice));
    }
    let lag = split.lag.filter(|&lag| lag > 0)?;
    let before = facts.before.splits.iter().find(|before| before.id == split.id);
    let read = before.map_or(0, |before| split.position.saturating_sub(before.position));
    if read >= lag {
        return None; // Live traffic: in as many seconds it has caught up.
    }
    Some(finding(
        Cause::PartitionBehind,
        format!(
            "{} holds the watermark back, {at}: {lag} of its records are not read yet, {read} were since the last look",
            split.id
        ),
        "it gets on as they are read; if too slowly, rescale up to one source for each partition",
    ))
}

fn name(subtask: &Subtask) -> String {
    format!("{}[{}]", subtask.stage, subtask.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stream_core::pipeline::StartPosition;

    use crate::view::testing::{sample_details, sample_subtask};

    const NOW: Timestamp = Timestamp(1_736_874_100_000);

    fn sample_source() -> SourceSpec {
        SourceSpec {
            uri: "kafka://127.0.0.1:9092/t".to_owned(),
            from: StartPosition::Earliest,
            is_bounded: false,
            watermark_delay: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(30),
            close_when_idle: Duration::ZERO,
            max_future: Duration::from_secs(3600),
            max_drift: Duration::ZERO,
            properties: [].into(),
            secrets: [].into(),
        }
    }

    fn sample_split(id: &str) -> Split {
        let watermark_ms = Some(NOW.0 - 20_000);
        Split { id: id.to_owned(), position: 10, lag: Some(0), watermark_ms, ..sample_details().splits.remove(0) }
    }

    fn healthy() -> JobDetails {
        JobDetails { splits: vec![sample_split("t/0")], ..sample_details() }
    }

    fn facts<'a>(before: &'a JobDetails, now: &'a JobDetails, source: &'a SourceSpec) -> Facts<'a> {
        let heartbeat_interval = Duration::from_millis(500);
        Facts { before, now, source, free_slots: 1, silences: &[], heartbeat_interval, clock: NOW }
    }

    fn causes(before: &JobDetails, now: &JobDetails, source: &SourceSpec) -> Vec<Cause> {
        let facts = facts(before, now, source);
        diagnose(&facts).into_iter().map(|finding| finding.cause).collect()
    }

    fn alone(now: &JobDetails) -> Vec<Cause> {
        causes(now, now, &sample_source())
    }

    #[test]
    fn job_that_keeps_up_has_no_finding() {
        assert_eq!(alone(&healthy()), []);
    }

    #[test]
    fn job_that_has_ended_says_so_and_nothing_else() {
        let mut details = healthy();
        (details.job.state, details.job.causes) = ("failed", vec!["table `x` is gone".to_owned()]);
        details.subtasks[0].is_paused = true;
        let source = sample_source();
        let [finding] = diagnose(&facts(&details, &details, &source)).try_into().expect("one finding");
        assert_eq!((finding.cause, finding.what.as_str()), (Cause::Ended, "the job is failed: table `x` is gone"));
    }

    #[test]
    fn missing_slots_and_other_reasons_to_wait_are_told_apart() {
        let mut details = healthy();
        details.job.state = "restarting";
        assert_eq!(alone(&details), [Cause::Restarting]);
        details.slots_needed = Some(3);
        assert_eq!(alone(&details), [Cause::NoFreeSlot]);
    }

    #[test]
    fn taskmanager_that_stands_still_is_named_with_its_tasks_if_it_has_any() {
        let (mut details, source) = (healthy(), sample_source());
        details.subtasks.iter_mut().for_each(|subtask| subtask.taskmanager = format!("tm-{}", subtask.index + 1));
        let silent = |ms: [u64; 3]| {
            let each = |(n, ms): (usize, u64)| (format!("tm-{}", n + 1), Duration::from_millis(ms));
            let silences: Vec<(String, Duration)> = ms.into_iter().enumerate().map(each).collect();
            diagnose(&Facts { silences: &silences, ..facts(&details, &details, &source) })
        };
        assert_eq!(silent([400, 1400, 60_000]), [], "two heartbeats may be late; the third has no task of the job");
        let [finding] = silent([400, 4000, 0]).try_into().expect("one finding");
        assert_eq!(finding.cause, Cause::TaskmanagerSilent);
        assert_eq!(finding.what, "tm-2 was not heard for 4s, and is to be each 500ms: window[1] stand still");
    }

    #[test]
    fn sink_that_is_away_and_the_pause_that_follows_are_both_told() {
        let mut details = healthy();
        let mut sink = sample_subtask("sink", 0);
        (sink.trouble, sink.unpublished_bytes) = (Some("connection refused".to_owned()), 3 << 20);
        details.subtasks.push(sink);
        assert_eq!(alone(&details), [Cause::SinkUnavailable]);
        details.subtasks[0].is_paused = true;
        assert_eq!(alone(&details), [Cause::SinkUnavailable, Cause::SinkBehind]);
    }

    #[test]
    fn last_stage_that_waits_for_the_next_one_names_it() {
        let mut before = healthy();
        before.subtasks = ["source", "window", "sink"].map(|stage| sample_subtask(stage, 0)).into();
        let mut now = before.clone();
        now.subtasks[0].backpressured_ms += 990;
        now.subtasks[0].busy_ms += 10;
        now.subtasks[1].busy_ms += 900;
        now.subtasks[1].idle_ms += 100;
        now.subtasks[2].idle_ms += 1000;
        let source = sample_source();
        let facts = facts(&before, &now, &source);
        let [finding] = diagnose(&facts).try_into().expect("one finding");
        assert_eq!(finding.cause, Cause::Backpressure);
        assert!(
            finding.what.contains("source[0] waited for stage `window` 99 %")
                && finding.what.contains("window[0] on tm-1 was busiest, 90 %"),
            "{}",
            finding.what
        );
    }

    #[test]
    fn watermark_ahead_of_the_clock_is_a_record_from_the_future() {
        let mut details = healthy();
        details.splits[0].watermark_ms = Some(NOW.0 + 61_000);
        assert_eq!(alone(&details), [Cause::FutureRecord]);
        details.splits[0].watermark_ms = Some(NOW.0 + 59_000);
        assert_eq!(alone(&details), []);
    }

    #[test]
    fn partition_that_holds_the_others_back_is_silent_or_behind() {
        let mut details = healthy();
        details.splits = vec![sample_split("t/0"), sample_split("t/1")];
        details.splits[1].watermark_ms = None;
        details.splits[1].silent_ms = 12_000;
        assert_eq!(alone(&details), [Cause::SilentPartition]);
        let source = sample_source();
        let facts = facts(&details, &details, &source);
        assert_eq!(diagnose(&facts)[0].advice, "it is left out after 30s of silence, in 18s");
        details.splits[1].silent_ms = 0;
        details.splits[1].lag = Some(1000);
        assert_eq!(alone(&details), [Cause::PartitionBehind]);
        let mut before = details.clone();
        details.splits[1].position += 1000;
        before.splits[1].lag = None;
        assert_eq!(causes(&before, &details, &source), [], "it reads as much as there is between two looks");
    }

    #[test]
    fn silence_of_all_is_told_with_what_ends_the_sessions() {
        let mut details = healthy();
        details.splits.iter_mut().for_each(|split| (split.state, split.silent_ms) = ("idle", 40_000));
        let mut source = sample_source();
        assert_eq!(causes(&details, &details, &source), [Cause::AllIdle]);
        source.close_when_idle = Duration::from_secs(315);
        let facts = facts(&details, &details, &source);
        assert!(diagnose(&facts)[0].advice.contains("after 5m15s of silence"));
    }
}
