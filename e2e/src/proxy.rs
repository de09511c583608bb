//! A TCP proxy that misbehaves when told to: between a sink and its Postgres.
//!
//! It knows nothing of what passes. Tests: beside the code, over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Small, so that a cut falls within a message rather than between two.
const CHUNK_BYTES: usize = 4 << 10;

/// What becomes of what passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// It passes.
    #[default]
    Fair,
    /// Each chunk is held up for so long.
    Slow(Duration),
    /// Nothing passes, and nobody is told: a black hole. New connections are taken, and hang.
    Silent,
    /// The server hears everything; its answers, and the end of its connections, are held back.
    AnswersLost,
    /// New connections are closed at once, as if nobody listened.
    Closed,
}

/// A proxy, in a thread of its own; ends, with all its connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Option<watch::Sender<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    weather: Weather,
    /// How often all connections were cut.
    cuts: u64,
}

#[derive(Clone, Copy, Debug)]
enum Toward {
    Server,
    Client,
}

impl Proxy {
    /// Starts a proxy to a port of 127.0.0.1, in fair weather.
    ///
    /// # Errors
    /// If there is no free port or no thread.
    pub fn start(target: u16) -> Result<Proxy> {
        Proxy::start_at(Ipv4Addr::LOCALHOST, target)
    }

    /// As [`Proxy::start`], on another address of this machine.
    ///
    /// # Errors
    /// If it has no such address, or there is no free port or no thread.
    pub fn start_at(address: Ipv4Addr, target: u16) -> Result<Proxy> {
        let listener = std::net::TcpListener::bind((address, 0)).context("no free port for the proxy")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (state, seen) = watch::channel(State::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("proxy".into()).spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener that does not block");
                serve(&listener, target, seen).await;
            });
        })?;
        Ok(Proxy { port, state: Some(state), thread: Some(thread) })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the weather. What was held back goes on its way where the new weather lets it.
    pub fn set(&self, weather: Weather) {
        self.change(|state| state.weather = weather);
    }

    /// Closes every connection of this moment, on both sides, with what is on its way.
    pub fn cut(&self) {
        self.change(|state| state.cuts += 1);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        if let Some(state) = &self.state {
            state.send_modify(change);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Weather {
    /// How long a chunk is held up; `None` for as long as this weather lasts.
    fn delay(self, toward: Toward) -> Option<Duration> {
        match (self, toward) {
            (Weather::Fair, _) | (Weather::AnswersLost, Toward::Server) => Some(Duration::ZERO),
            (Weather::Slow(delay), _) => Some(delay),
            (Weather::Silent | Weather::Closed, _) | (Weather::AnswersLost, Toward::Client) => None,
        }
    }
}

/// Until the sender is gone.
async fn serve(listener: &TcpListener, target: u16, mut state: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connection(client, target, state.clone()));
                }
            }
            changed = state.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(client: TcpStream, target: u16, mut state: watch::Receiver<State>) {
    let State { weather, cuts } = *state.borrow();
    if weather == Weather::Closed {
        return;
    }
    // A server that is down refuses at once, unless the weather hides that.
    let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, target))).await else {
        let _ = wait_for_passage(&mut state, Toward::Client).await;
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let both = state.clone();
    tokio::select! {
        () = pump(from_client, to_server, both.clone(), Toward::Server) => {}
        () = pump(from_server, to_client, both, Toward::Client) => {}
        _ = state.wait_for(|state| state.cuts != cuts) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
    toward: Toward,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        let Some(delay) = wait_for_passage(&mut state, toward).await else { return };
        if read == 0 {
            return;
        }
        tokio::time::sleep(delay).await;
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}

/// Waits for weather that lets something pass, with how long it is held up then; `None` once the proxy ends.
async fn wait_for_passage(state: &mut watch::Receiver<State>, toward: Toward) -> Option<Duration> {
    let passing = state.wait_for(|state| state.weather.delay(toward).is_some()).await.ok()?;
    passing.weather.delay(toward)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    const A_WHILE: Duration = Duration::from_millis(200);

    /// A server that answers every byte with the same, and its proxy.
    async fn echo() -> (Proxy, TcpStream, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap().port()).unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            }
        });
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        (proxy, client, server)
    }

    async fn answer(client: &mut TcpStream) -> std::io::Result<usize> {
        client.read(&mut [0; 8]).await
    }

    #[tokio::test]
    async fn what_a_black_hole_holds_back_passes_when_it_is_over() {
        let (proxy, mut client, _server) = echo().await;
        proxy.set(Weather::Silent);
        client.write_all(b"a").await.unwrap();
        assert!(timeout(A_WHILE, answer(&mut client)).await.is_err(), "nothing passes");
        proxy.set(Weather::Fair);
        assert_eq!(timeout(LIMIT, answer(&mut client)).await.unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_cut_ends_connections_and_lets_new_ones_through() {
        let (proxy, mut client, _server) = echo().await;
        client.write_all(b"a").await.unwrap();
        assert_eq!(timeout(LIMIT, answer(&mut client)).await.unwrap().unwrap(), 1);
        proxy.cut();
        assert!(matches!(timeout(LIMIT, answer(&mut client)).await.unwrap(), Ok(0) | Err(_)));
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        client.write_all(b"b").await.unwrap();
        assert_eq!(timeout(LIMIT, answer(&mut client)).await.unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_closed_proxy_hangs_up_until_it_is_fair_again() {
        let (proxy, _client, _server) = echo().await;
        proxy.set(Weather::Closed);
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        assert!(matches!(timeout(LIMIT, answer(&mut client)).await.unwrap(), Ok(0) | Err(_)));
        proxy.set(Weather::Fair);
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        client.write_all(b"a").await.unwrap();
        assert_eq!(timeout(LIMIT, answer(&mut client)).await.unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn lost_answers_hide_the_servers_end_too() {
        let (proxy, mut client, mut server) = echo().await;
        client.write_all(b"a").await.unwrap();
        assert_eq!(timeout(LIMIT, answer(&mut client)).await.unwrap().unwrap(), 1);
        proxy.set(Weather::AnswersLost);
        server.shutdown().await;
        assert!(timeout(A_WHILE, answer(&mut client)).await.is_err(), "the end is held back");
        proxy.set(Weather::Fair);
        assert!(matches!(timeout(LIMIT, answer(&mut client)).await.unwrap(), Ok(0) | Err(_)));
    }
}
