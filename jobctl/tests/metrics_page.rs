//! `docs/metrics.md` is what the code lists.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

#[test]
fn page_of_metrics_is_what_the_code_lists() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let sections = [jobmanager::metrics::catalog(), taskmanager::metrics::catalog(), telemetry::catalog()].concat();
    let page = telemetry::page(&sections);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(
        written == page,
        "docs/metrics.md is not what the code lists: run this test with UPDATE_DOCS=1 and commit it"
    );
}

#[test]
fn names_follow_one_form_and_no_attribute_can_have_many_values() {
    const ATTRIBUTES: [&str; 10] =
        ["job.id", "job.name", "task.name", "subtask.index", "partition", "state", "outcome", "cpu.mode", "signal", ""];
    let sections = [jobmanager::metrics::catalog(), taskmanager::metrics::catalog(), telemetry::catalog()].concat();
    let mut names = Vec::new();
    for (metric, attributes) in sections.iter().flat_map(telemetry::Section::metrics) {
        assert!(metric.name.starts_with("gapwise.") || metric.name.starts_with("process."), "{}", metric.name);
        assert!(metric.name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_'), "{}", metric.name);
        assert!(metric.meaning.ends_with('.'), "{}", metric.name);
        assert!(attributes.iter().all(|attribute| ATTRIBUTES.contains(attribute)), "{}: {attributes:?}", metric.name);
        names.push(metric.prometheus_name());
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "two metrics have one name");
}
