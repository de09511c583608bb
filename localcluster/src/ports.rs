//! TCP ports of this machine: which are free, which answer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A connection to this machine that takes longer has no listener behind it.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// A port of 127.0.0.1 that was free a moment ago; nothing keeps it free until it is used.
///
/// # Errors
/// If the machine gives out no port at all.
pub fn free() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether something listens on `port` of 127.0.0.1, or holds it so that nothing else can.
#[must_use]
pub fn is_taken(port: u16) -> bool {
    accepts(port) || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

/// Whether a connection to `port` of 127.0.0.1 is accepted.
#[must_use]
pub fn accepts(port: u16) -> bool {
    connect(port).is_ok()
}

/// Connects to `port` of 127.0.0.1.
///
/// # Errors
/// If nothing listens there.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT_LIMIT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listener_takes_its_port_until_it_is_dropped() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_taken(port));
        assert!(accepts(port));
        drop(listener);
        assert!(!accepts(port));
    }
}
