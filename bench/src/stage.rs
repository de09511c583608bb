//! What contestants share.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::interrupted::Interrupted;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;

use crate::args::Args;
use crate::contestants::kafka::Loaded;
use crate::data::{Data, Shape};

/// What contestants share.
pub(crate) struct Stage<'a> {
    pub(crate) args: &'a Args,
    /// Where results and logs go; an absolute path.
    pub(crate) dir: PathBuf,
    pub(crate) interrupted: Interrupted,
    pub(crate) bar: Bar,
    pub(crate) runtime: Runtime,
    /// What took part, by name.
    pub(crate) versions: BTreeMap<String, String>,
    /// A cluster with the events in a topic, while those who need it take turns.
    pub(crate) kafka: Option<Loaded>,
    data: BTreeMap<Shape, Data>,
}

impl<'a> Stage<'a> {
    /// # Errors
    /// If the folder cannot be made.
    pub(crate) fn new(args: &'a Args, runtime: Runtime) -> Result<Stage<'a>> {
        let make = || fs::create_dir_all(args.dir.join("logs")).and_then(|()| args.dir.canonicalize());
        let dir = make().with_context(|| format!("cannot make `{}`", args.dir.display()))?;
        let interrupted = {
            let _entered = runtime.enter();
            Interrupted::listen()
        };
        let (versions, data) = (BTreeMap::new(), BTreeMap::new());
        Ok(Stage { args, dir, interrupted, bar: Bar::new(), runtime, versions, kafka: None, data })
    }

    /// The events of this shape; made now if they are not there.
    ///
    /// # Errors
    /// If they cannot be made.
    pub(crate) fn data(&mut self, shape: Shape) -> Result<Data> {
        if let Some(data) = self.data.get(&shape) {
            return Ok(data.clone());
        }
        let data = Data::find_or_make(shape, self.args, &self.dir, &self.bar)?;
        self.data.insert(shape, data.clone());
        Ok(data)
    }

    /// Where what a contestant says is kept.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{}.log", name.replace('/', "-")))
    }

    /// A folder for a contestant's result, made anew.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn clean_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join("results").join(name.replace('/', "-"));
        remove(&dir)?;
        fs::create_dir_all(&dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
        Ok(dir)
    }
}

/// Removes a folder, if it is there.
///
/// # Errors
/// If it cannot be removed.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", dir.display()))
        }
        _ => Ok(()),
    }
}

/// What a person at the terminal sees meanwhile; nothing where nobody looks.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    fn new() -> Bar {
        let style = ProgressStyle::with_template("{elapsed:>5} {bar:30} {percent:>3} % {msg}");
        Bar(ProgressBar::new(1).with_style(style.expect("the template is a constant that a test reads")))
    }

    /// Begins something of so many steps.
    pub(crate) fn begin(&self, steps: u64, what: &str) {
        self.0.set_length(steps);
        self.0.set_position(0);
        self.say(what);
    }

    /// So many are done.
    pub(crate) fn at(&self, step: u64) {
        self.0.set_position(step);
    }

    /// What is being done.
    pub(crate) fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
        self.0.tick();
    }

    /// Makes room for other words.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_well_formed() {
        Bar::new().begin(1, "nothing");
    }
}
