//! "Is this broker ready?", asked in 20 bytes.
//!
//! A broker accepts connections before it serves. The answer to a Metadata request names the brokers that are ready, so
//! one that names itself can be used. This avoids starting a whole client (threads, reconnects, log lines) for a look
//! that is repeated every few milliseconds. Plaintext listeners only.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::ports;

/// Metadata, version 1, correlation id 7, client id `up`, no topics.
const METADATA_REQUEST: [u8; 20] = [0, 0, 0, 16, 0, 3, 0, 1, 0, 0, 0, 7, 0, 2, b'u', b'p', 0, 0, 0, 0];

/// A broker that is ready answers in a millisecond or two.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Whether the broker on `port` of 127.0.0.1 names at least one broker that is ready.
#[must_use]
pub fn is_ready(port: u16) -> bool {
    ask(port).is_ok_and(|brokers| brokers > 0)
}

fn ask(port: u16) -> io::Result<i32> {
    let mut stream = ports::connect(port)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(&METADATA_REQUEST)?;
    // Length, correlation id, number of brokers: the rest is of no interest.
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head)?;
    let [_, _, _, _, c0, c1, c2, c3, b0, b1, b2, b3] = head;
    if i32::from_be_bytes([c0, c1, c2, c3]) != 7 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(i32::from_be_bytes([b0, b1, b2, b3]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn only_an_answer_that_names_a_broker_counts() {
        for (brokers, expected) in [(0_u8, false), (1, true)] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut peer, _) = listener.accept().unwrap();
                    let mut request = [0; METADATA_REQUEST.len()];
                    peer.read_exact(&mut request).unwrap();
                    peer.write_all(&[0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, brokers]).unwrap();
                });
                assert_eq!(is_ready(port), expected);
            });
        }
    }

    #[test]
    fn a_port_without_a_listener_is_not_ready() {
        assert!(!is_ready(ports::free().unwrap()));
    }
}
