//! A file or pipe as a stream of plain bytes, decompressed if its first bytes say that it is compressed.
//!
//! The name is not asked: gzip and Zstandard data are known by their first bytes, and no JSON begins with those.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;

use super::pipe::Pipe;
use super::splits::STDIN;

/// Compressed bytes read at once.
const COMPRESSED_READ_BYTES: usize = 128 << 10;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An input whose first bytes may not have come yet.
pub(super) enum Input {
    /// Not yet known to be compressed or not.
    Unknown(Option<Raw>),
    /// As it is.
    Plain(Raw),
    /// One or more gzip members.
    Gzip(Box<MultiGzDecoder<BufReader<Raw>>>),
    /// One or more Zstandard frames.
    Zstd(zstd::stream::read::Decoder<'static, BufReader<Raw>>),
}

/// The bytes as stored, of which the first few can be looked at before they are read.
pub(super) struct Raw {
    source: RawSource,
    head: [u8; 4],
    head_len: usize,
    head_at: usize,
    read: u64,
}

enum RawSource {
    File(File),
    Pipe(Pipe),
}

impl Input {
    /// Opens a split's file; standard input by its name. Anything that is no regular file is taken for a pipe.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let source = if name == STDIN {
            RawSource::Pipe(Pipe::start(|| Ok(io::stdin()))?)
        } else if Path::new(name).metadata()?.is_file() {
            RawSource::File(File::open(name)?)
        } else {
            let path = name.to_owned();
            RawSource::Pipe(Pipe::start(move || File::open(path))?)
        };
        Ok(Input::Unknown(Some(Raw { source, head: [0; 4], head_len: 0, head_at: 0, read: 0 })))
    }

    /// How long the next reads may wait, where waiting can be limited at all.
    pub(super) fn set_max_wait(&mut self, max_wait: Duration) {
        let raw = match self {
            Input::Unknown(None) => return,
            Input::Unknown(Some(raw)) | Input::Plain(raw) => raw,
            Input::Gzip(decoder) => decoder.get_mut().get_mut(),
            Input::Zstd(decoder) => decoder.get_mut().get_mut(),
        };
        if let RawSource::Pipe(pipe) = &mut raw.source {
            pipe.set_max_wait(max_wait);
        }
    }

    /// The size of the whole stream: exact for a plain file, else the best guess if `position` bytes of it were read;
    /// `None` if nothing is known.
    pub(super) fn size(&self, position: u64) -> Option<u64> {
        let (raw, consumed) = match self {
            Input::Unknown(_) => return None,
            Input::Plain(raw) => return raw.size(),
            Input::Gzip(decoder) => consumed(decoder.get_ref()),
            Input::Zstd(decoder) => consumed(decoder.get_ref()),
        };
        let expansion = position as f64 / consumed.max(1) as f64;
        raw.size().map(|size| position.max((size as f64 * expansion) as u64))
    }

    /// Whether an error of a read can come from the decompressor.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Input::Gzip(_) | Input::Zstd(_))
    }

    /// Leaves out the first `count` bytes.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.recognize()?;
        if let Input::Plain(Raw { source: RawSource::File(file), head_at, head_len, .. }) = self {
            *head_at = *head_len;
            return file.seek(SeekFrom::Start(count)).map(drop);
        }
        io::copy(&mut self.take(count), &mut io::sink()).map(drop)
    }

    /// Looks at the first bytes.
    fn recognize(&mut self) -> io::Result<()> {
        let Input::Unknown(unknown) = self else { return Ok(()) };
        let Some(raw) = unknown else { return Ok(()) };
        let head = raw.peek()?;
        let (is_gzip, is_zstd) = (head.starts_with(&GZIP), head.starts_with(&ZSTD));
        let raw = unknown.take().expect("it was there a line above");
        *self = if is_gzip {
            Input::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED_READ_BYTES, raw))))
        } else if is_zstd {
            let buffered = BufReader::with_capacity(COMPRESSED_READ_BYTES, raw);
            Input::Zstd(zstd::stream::read::Decoder::with_buffer(buffered)?)
        } else {
            Input::Plain(raw)
        };
        Ok(())
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recognize()?;
        match self {
            Input::Unknown(_) => Ok(0),
            Input::Plain(raw) => raw.read(buf),
            Input::Gzip(decoder) => decoder.read(buf),
            Input::Zstd(decoder) => decoder.read(buf),
        }
    }
}

impl Raw {
    /// The first bytes, at most four; fewer only if there are no more.
    fn peek(&mut self) -> io::Result<&[u8]> {
        while self.head_len < self.head.len() {
            match self.source.read(&mut self.head[self.head_len..])? {
                0 => break,
                count => self.head_len += count,
            }
        }
        Ok(&self.head[..self.head_len])
    }

    fn size(&self) -> Option<u64> {
        match &self.source {
            RawSource::File(file) => file.metadata().ok().map(|metadata| metadata.len()),
            RawSource::Pipe(_) => None,
        }
    }
}

impl Read for Raw {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = if self.head_at < self.head_len {
            let mut head = &self.head[self.head_at..self.head_len];
            let count = head.read(buf)?;
            self.head_at += count;
            count
        } else {
            self.source.read(buf)?
        };
        self.read += count as u64;
        Ok(count)
    }
}

impl Read for RawSource {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            RawSource::File(file) => file.read(buf),
            RawSource::Pipe(pipe) => pipe.read(buf),
        }
    }
}

/// The stored bytes, and how many of them the decompressor has taken.
fn consumed(buffered: &BufReader<Raw>) -> (&Raw, u64) {
    (buffered.get_ref(), buffered.get_ref().read - buffered.buffer().len() as u64)
}
