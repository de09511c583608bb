//! The order of runs: those on the same data take turns, so that what disturbs the machine disturbs all of them.

use anyhow::{Context, Result};

use crate::contestant::{Contestant, Ready};
use crate::report::{Entry, Report};
use crate::stage::Stage;

/// Runs all of them.
///
/// # Errors
/// The first that fails or is wrong, by name.
pub(crate) fn take(stage: &mut Stage<'_>, contestants: &mut [Box<dyn Contestant>]) -> Result<Report> {
    let mut entries = Vec::new();
    for group in contestants.chunk_by_mut(|one, next| place(one.name()) == place(next.name())) {
        entries.extend(take_in_group(stage, group)?);
        // A broker that idles is still a process.
        stage.kafka = None;
    }
    stage.bar.clear();
    Ok(Report::of(stage.args, stage.versions.clone(), entries))
}

fn take_in_group(stage: &mut Stage<'_>, group: &mut [Box<dyn Contestant>]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for one in group.iter_mut() {
        stage.interrupted.check()?;
        stage.bar.say(&format!("{}: getting ready", one.name()));
        let ready = one.prepare(stage).with_context(|| one.name().to_owned())?;
        entries.push(Entry {
            name: one.name().to_owned(),
            what: one.what().to_owned(),
            unit: one.unit(),
            skipped: match ready {
                Ready::Yes => None,
                Ready::No(reason) => Some(reason),
            },
            runs: Vec::new(),
        });
    }
    let runs = u64::from(stage.args.runs.get());
    let taking_part = entries.iter().filter(|entry| entry.skipped.is_none()).count() as u64;
    let mut done = 0;
    stage.bar.begin(runs * taking_part, "");
    for round in 1..=runs {
        for (one, entry) in group.iter_mut().zip(&mut entries).filter(|(_, entry)| entry.skipped.is_none()) {
            stage.interrupted.check()?;
            stage.bar.say(&format!("{}, run {round} of {runs}", one.name()));
            let run = one.run(stage).with_context(|| format!("{}, run {round}", one.name()))?;
            entry.runs.push(run);
            done += 1;
            stage.bar.at(done);
        }
    }
    Ok(entries)
}

/// What comes before the `/`.
fn place(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;
    use std::rc::Rc;

    use clap::Parser;

    use super::*;
    use crate::args::Args;
    use crate::contestant::Run;

    struct Toy {
        name: &'static str,
        ready: Ready,
        order: Rc<RefCell<Vec<&'static str>>>,
    }

    impl Contestant for Toy {
        fn name(&self) -> &str {
            self.name
        }

        fn what(&self) -> &str {
            "a toy"
        }

        fn prepare(&mut self, _: &mut Stage<'_>) -> Result<Ready> {
            Ok(self.ready.clone())
        }

        fn run(&mut self, _: &mut Stage<'_>) -> Result<Run> {
            self.order.borrow_mut().push(self.name);
            Ok(Run { count: 1, wall_s: 1.0, cpu_s: 1.0, peak_bytes: None, first_row_s: None })
        }
    }

    #[test]
    fn those_on_the_same_data_take_turns_and_what_cannot_be_had_has_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let args = Args::parse_from(["bench", "--runs", "2", "--dir", dir.path().to_str().unwrap()]);
        let mut stage = Stage::new(&args, tokio::runtime::Runtime::new().unwrap()).unwrap();
        let order = Rc::new(RefCell::new(Vec::new()));
        let toy = |name, ready| Box::new(Toy { name, ready, order: Rc::clone(&order) }) as Box<dyn Contestant>;
        let no = Ready::No("there is none".to_owned());
        let mut toys = [toy("a/1", Ready::Yes), toy("a/2", Ready::Yes), toy("a/3", no), toy("b/1", Ready::Yes)];
        let report = take(&mut stage, &mut toys).unwrap();
        assert_eq!(*order.borrow(), ["a/1", "a/2", "a/1", "a/2", "b/1", "b/1"]);
        assert_eq!(report.entries[2].skipped.as_deref(), Some("there is none"));
        assert_eq!(report.entries.iter().map(|entry| entry.runs.len()).collect::<Vec<_>>(), [2, 2, 0, 2]);
    }
}
