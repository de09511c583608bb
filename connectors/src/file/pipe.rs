//! Standard input and other pipes, read with a limit on the wait.
//!
//! A read from a pipe cannot be given up, so a thread of its own does it. When the reader is dropped, that thread ends at
//! its next byte or with the process; nobody waits for it, because it may be waiting for a person at a terminal.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// What the thread may read ahead, in chunks of `CHUNK_BYTES`.
const CHUNKS_AHEAD: usize = 4;
const CHUNK_BYTES: usize = 256 << 10;

/// The reading end.
#[derive(Debug)]
pub(super) struct Pipe {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
    max_wait: Duration,
}

impl Pipe {
    /// Reads what `open` opens, on a thread of its own; opening too may have to wait.
    pub(super) fn start<R: Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static) -> io::Result<Self> {
        let (to_reader, chunks) = sync_channel(CHUNKS_AHEAD);
        let read_all = move || {
            let mut input = match open() {
                Ok(input) => input,
                Err(error) => return drop(to_reader.send(Err(error))),
            };
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let result = match input.read(&mut chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    result => result.map(|count| chunk.truncate(count)),
                };
                let is_over = result.is_err() || chunk.is_empty();
                if to_reader.send(result.map(|()| chunk)).is_err() || is_over {
                    return;
                }
            }
        };
        thread::Builder::new().name("pipe-reader".to_owned()).spawn(read_all)?;
        Ok(Pipe { chunks, chunk: Vec::new(), at: 0, max_wait: Duration::ZERO })
    }

    /// How long the next reads may wait.
    pub(super) fn set_max_wait(&mut self, max_wait: Duration) {
        self.max_wait = max_wait;
    }
}

/// Fails with [`io::ErrorKind::WouldBlock`] if nothing came in time; the read can then be repeated.
impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            (self.chunk, self.at) = match self.chunks.recv_timeout(self.max_wait) {
                Ok(chunk) => (chunk?, 0),
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            };
        }
        let count = buf.len().min(self.chunk.len() - self.at);
        buf[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_silent_pipe_does_not_hold_its_reader() {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut pipe = Pipe::start(move || Ok(near)).unwrap();
        let mut buf = [0; 8];
        assert_eq!(pipe.read(&mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        pipe.set_max_wait(Duration::from_secs(10));
        io::Write::write_all(&mut &far, b"abc").unwrap();
        assert_eq!(pipe.read(&mut buf).unwrap(), 3);
        drop(far);
        assert_eq!(pipe.read(&mut buf).unwrap(), 0);
        assert_eq!(pipe.read(&mut buf).unwrap(), 0, "the end stays the end");
    }
}
