//! What a run found, for people and for programs, and whether that is good enough.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::audit::Findings;
use e2e::oracle::Verdict;
use e2e::recovery_time::{alone, percentile, recovery};
use localcluster::table::{Align, Table};
use serde_json::{Value, json};

use crate::fault::Kind;
use crate::injector::Done;

/// Fewer faults prove too little.
const FAULTS_PER_MINUTE: u64 = 6;

/// Everything that was found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) minutes: u64,
    pub(crate) took: Duration,
    pub(crate) events: u64,
    pub(crate) done: Vec<Done>,
    pub(crate) skipped: u64,
    pub(crate) own_ends: Vec<String>,
    pub(crate) findings: Findings,
    pub(crate) verdict: Verdict,
    /// What else went wrong: the job did not catch up, or did not end.
    pub(crate) failures: Vec<String>,
}

/// How long a kind of fault took to get over.
#[derive(Debug, Default)]
struct Recoveries {
    done: u64,
    times: Vec<Duration>,
    /// Of those with no other fault beside them.
    alone: Vec<Duration>,
}

impl Report {
    /// Faults that were really done; a rescale is none.
    fn faults(&self) -> u64 {
        self.done.iter().filter(|done| done.kind != Kind::Rescale).count() as u64
    }

    /// Why the run is no success; nothing if it is.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let Report { findings, verdict, .. } = self;
        let mut complaints = self.failures.clone();
        let mut claim = |holds: bool, otherwise: String| {
            if !holds {
                complaints.push(otherwise);
            }
        };
        claim(verdict.is_exact(), format!("the table is not exact: {verdict}"));
        let told = findings.told.iter().take(5).map(|told| format!("\n  {told}")).collect::<String>();
        claim(
            findings.violations == 0,
            format!("{} looks of the auditor found a violation{told}", findings.violations),
        );
        claim(findings.polls > 0, format!("the auditor saw nothing: {:?}", findings.last_failure));
        let enough = self.minutes * FAULTS_PER_MINUTE;
        claim(self.faults() >= enough, format!("{} faults prove too little: {enough} are wanted", self.faults()));
        complaints
    }

    fn recoveries(&self) -> BTreeMap<Kind, Recoveries> {
        let mut kinds: BTreeMap<Kind, Recoveries> = BTreeMap::new();
        let recovered = |done: &Done| recovery(done.began, done.over, &self.findings.publications);
        let end = |done: &Done| recovered(done).map_or(Duration::MAX, |time| done.over.max(done.began + time));
        let spans: Vec<_> = self.done.iter().map(|done| (done.began, end(done))).collect();
        for (done, is_alone) in self.done.iter().zip(alone(&spans)) {
            let kind = kinds.entry(done.kind).or_default();
            let time = recovered(done);
            kind.done += 1;
            kind.times.extend(time);
            kind.alone.extend(time.filter(|_| is_alone));
        }
        kinds
    }

    pub(crate) fn to_json(&self) -> Value {
        let recoveries = self.recoveries();
        let kinds = recoveries.iter().map(|(kind, it)| {
            let ms =
                |times: &[Duration], percent| percentile(times.to_vec(), percent).map(|time| time.as_millis() as u64);
            json!({
                "fault": kind.to_string(), "done": it.done,
                "recovery_p50_ms": ms(&it.times, 50), "recovery_p99_ms": ms(&it.times, 99),
                "alone": it.alone.len(), "alone_p50_ms": ms(&it.alone, 50), "alone_p99_ms": ms(&it.alone, 99),
            })
        });
        json!({
            "seed": self.seed,
            "minutes": self.minutes,
            "took_ms": self.took.as_millis() as u64,
            "events": self.events,
            "table": self.verdict.to_json(),
            "faults": kinds.collect::<Vec<_>>(),
            "faults_done": self.faults(),
            "faults_skipped": self.skipped,
            "ended_by_themselves": self.own_ends,
            "epochs": self.findings.publications.len(),
            "polls": self.findings.polls,
            "postgres_outages": self.findings.outages,
            "violations": self.findings.violations,
            "violations_told": self.findings.told,
            "complaints": self.complaints(),
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let recoveries = self.recoveries();
        let all: Vec<Duration> = recoveries.values().flat_map(|it| it.times.clone()).collect();
        let columns = ["DONE", "P50", "P99", "ALONE", "P50", "P99"].map(|name| (name, Align::Right));
        let mut faults = Table::new(&[&[("FAULT", Align::Left)], &columns[..]].concat());
        let mut row = |name: String, done: u64, times: &[Duration], alone: &[Duration]| {
            let [done, alone_done] = [done, alone.len() as u64].map(|number| number.to_string());
            faults.row([
                name,
                done,
                shown(times, 50),
                shown(times, 99),
                alone_done,
                shown(alone, 50),
                shown(alone, 99),
            ]);
        };
        for (kind, it) in &recoveries {
            row(kind.to_string(), it.done, &it.times, &it.alone);
        }
        let all_alone: Vec<Duration> = recoveries.values().flat_map(|it| it.alone.clone()).collect();
        row("all".into(), self.done.len() as u64, &all, &all_alone);

        let mut found = Table::new(&[("FOUND", Align::Left), ("", Align::Right)]);
        let Verdict { rows, missing, duplicate, different, kept, wrongly_kept, .. } = &self.verdict;
        let polls = self.findings.polls;
        let per_second = polls as f64 / self.took.as_secs_f64().max(1.0);
        for (name, value) in [
            ("seed", self.seed.to_string()),
            ("minutes", self.minutes.to_string()),
            ("events", self.events.to_string()),
            ("rows", rows.to_string()),
            ("epochs published", self.findings.publications.len().to_string()),
            ("faults done", self.faults().to_string()),
            ("not done, for want of a victim", self.skipped.to_string()),
            ("processes ended by themselves", self.own_ends.len().to_string()),
            ("polls", format!("{polls} ({per_second:.0}/s)")),
            ("violations", self.findings.violations.to_string()),
            ("missing rows", missing.to_string()),
            ("duplicate rows", duplicate.to_string()),
            ("different rows", different.to_string()),
            ("late and bad records kept", kept.to_string()),
            ("of them lost or kept wrongly", wrongly_kept.to_string()),
        ] {
            found.row([name.into(), value]);
        }
        format!(
            "{}\nRecovery is from the fault to the next published epoch; ALONE: of the faults with no other beside them.\n\n{}",
            faults.render(),
            found.render()
        )
    }

    /// The last line.
    pub(crate) fn summary(&self) -> String {
        let verdict = if self.complaints().is_empty() { "exact" } else { "NOT EXACT" };
        let (faults, rows) = (self.faults(), self.verdict.rows);
        format!("chaos: {verdict}: {} events, {rows} rows, {faults} faults, seed {}", self.events, self.seed)
    }
}

fn shown(times: &[Duration], percent: usize) -> String {
    percentile(times.to_vec(), percent).map_or("-".into(), |time| format!("{:.1} s", time.as_secs_f64()))
}
