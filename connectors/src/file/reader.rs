//! Reads files line by line, a bufferful of each in turn.
//!
//! Files take turns because each is a split with a watermark of its own: read one after the other, the ones that wait
//! would count as idle, and their events as late.

use std::path::PathBuf;
use std::time::Duration;

use stream_core::pipeline::Split;
use stream_runtime::connector::{ConnectorError, SourceReader, SourceVisitor};

use super::error::{Action, Error};
use super::input::Input;
use super::lines::{FillError, Filled, Lines};

/// The reader of a source subtask over some files.
///
/// Offsets are bytes of the decompressed text. The end of a compressed file is not known before it is reached: until then
/// the end that is told is the one that would follow if the rest were compressed as well as the part that was read.
pub struct Reader {
    files: Vec<FileSplit>,
    /// Whose turn it is.
    turn: usize,
    unfinished: usize,
}

struct FileSplit {
    split: Split,
    state: State,
}

enum State {
    Unopened,
    /// `left` is what the last read brought, if some of it was not taken.
    Open {
        input: Box<Input>,
        lines: Lines,
        left: Option<Filled>,
    },
    Finished,
}

impl Reader {
    /// A reader over files that will be opened when they are read.
    pub fn open(splits: &[Split]) -> Self {
        let mut reader = Reader { files: Vec::new(), turn: 0, unfinished: 0 };
        reader.add(splits);
        reader
    }

    fn add(&mut self, splits: &[Split]) {
        let unopened = |split: &Split| FileSplit { split: split.clone(), state: State::Unopened };
        self.files.extend(splits.iter().map(unopened));
        self.unfinished += splits.len();
    }
}

impl SourceReader for Reader {
    fn add_splits(&mut self, splits: &[Split]) -> Result<(), ConnectorError> {
        self.add(splits);
        Ok(())
    }

    fn poll(&mut self, max_wait: Duration, visitor: &mut dyn SourceVisitor) -> Result<(), ConnectorError> {
        if self.unfinished == 0 {
            return Ok(());
        }
        let count = self.files.len();
        let mut turns = (0..count).map(|ahead| (self.turn + ahead) % count);
        let is_readable = |turn: &usize| self.files[*turn].is_unfinished() && !visitor.is_held(*turn);
        let Some(turn) = turns.find(is_readable) else {
            // All that is left waits for splits that others read.
            std::thread::park_timeout(max_wait);
            return Ok(());
        };
        self.turn = (turn + 1) % count;
        if self.files[turn].read(turn, max_wait, visitor)? == Progress::Finished {
            self.unfinished -= 1;
            visitor.on_split_finished(turn);
        }
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
enum Progress {
    Open,
    Finished,
}

impl FileSplit {
    fn is_unfinished(&self) -> bool {
        !matches!(self.state, State::Finished)
    }

    fn read(&mut self, index: usize, max_wait: Duration, visitor: &mut dyn SourceVisitor) -> Result<Progress, Error> {
        if matches!(self.state, State::Unopened) {
            self.state = self.open()?;
        }
        let State::Open { input, lines, left } = &mut self.state else { return Ok(Progress::Finished) };
        input.set_max_wait(max_wait);
        let filled = match left.take().map_or_else(|| lines.fill(input), Ok) {
            Ok(filled) => filled,
            Err(error) => {
                let (is_compressed, line) = (input.is_compressed(), lines.lines());
                return Err(self.error(error, is_compressed, line));
            }
        };
        if filled == Filled::Nothing {
            return Ok(Progress::Open);
        }
        if !lines.drain(filled == Filled::End, |records, next| visitor.on_records(index, records, next)) {
            *left = Some(filled);
            return Ok(Progress::Open);
        }
        if filled == Filled::End {
            visitor.on_known_end(index, lines.offset());
            self.state = State::Finished;
            return Ok(Progress::Finished);
        }
        if let Some(size) = input.size(lines.offset()) {
            visitor.on_known_end(index, size);
        }
        Ok(Progress::Open)
    }

    fn open(&self) -> Result<State, Error> {
        let failed = |error| Error::io(Action::Read, &self.path(), error);
        let mut input = Box::new(Input::open(&self.split.id.0).map_err(failed)?);
        input.skip(self.split.start).map_err(failed)?;
        Ok(State::Open { input, lines: Lines::new(self.split.start), left: None })
    }

    fn error(&self, error: FillError, is_compressed: bool, line: u64) -> Error {
        match error {
            FillError::LineTooLong => Error::LineTooLong { path: self.path(), line: line + 1 },
            FillError::Io(source) if is_compressed => Error::Damaged { path: self.path(), line, source },
            FillError::Io(source) => Error::io(Action::Read, &self.path(), source),
        }
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(&self.split.id.0)
    }
}
