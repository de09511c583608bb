//! A service of locations that misbehaves when told to: HTTP on a port of 127.0.0.1, as ip2location.io answers.
//!
//! Where an ip is follows from its text alone ([`country`], …), so that a table can be judged without asking.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::random::Random;

/// The key that it knows.
pub const KEY: &str = "the-key-of-the-test";
/// How long it stands still where it stalls: longer than anybody waits.
const STALL: Duration = Duration::from_secs(600);

/// How it behaves, in percent of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// Before each answer.
    pub latency: Duration,
    /// Calls that are answered with 500.
    pub failing: u64,
    /// Calls that are taken and not answered.
    pub stalling: u64,
    /// Calls that are answered with 429 and a second's pause.
    pub limiting: u64,
}

/// The service, in a thread of its own; ends when dropped.
#[derive(Debug)]
pub struct LocationApi {
    port: u16,
    shared: Arc<Mutex<Shared>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    manners: Manners,
    random: Random,
    calls: BTreeMap<String, u64>,
    refused: u64,
}

/// What becomes of a call.
enum Fate {
    Answered(u16, String),
    Stalled,
}

impl LocationApi {
    /// Starts it, well-behaved, with a seed for whom its later manners meet.
    ///
    /// # Errors
    /// If there is no free port or no thread.
    pub fn start(seed: u64) -> Result<LocationApi> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port for the service")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared =
            Shared { manners: Manners::default(), random: Random::new(seed), calls: BTreeMap::new(), refused: 0 };
        let shared = Arc::new(Mutex::new(shared));
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let its_shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("location-api".into()).spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener that does not block");
                tokio::select! {
                    () = serve(&listener, &its_shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(LocationApi { port, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}/", SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// From now on it behaves so.
    pub fn behave(&self, manners: Manners) {
        lock(&self.shared).manners = manners;
    }

    /// The calls so far, whatever became of them.
    pub fn calls(&self) -> u64 {
        lock(&self.shared).calls.values().sum()
    }

    /// The ips that were asked about so far.
    pub fn ips(&self) -> u64 {
        lock(&self.shared).calls.len() as u64
    }

    /// The calls whose key it did not know.
    pub fn refused(&self) -> u64 {
        lock(&self.shared).refused
    }
}

impl Drop for LocationApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

/// The `geodata` that its answer about an ip comes to.
pub fn geodata(ip: &str) -> String {
    format!(r#"{{"country":"{}","state":"{}","city":"{}"}}"#, country(ip), state(ip), ip)
}

/// The country of an ip.
pub fn country(ip: &str) -> String {
    format!("C{}", ip.split('.').next().unwrap_or_default())
}

/// The state of an ip.
pub fn state(ip: &str) -> String {
    format!("S{}", ip.split('.').nth(1).unwrap_or_default())
}

async fn serve(listener: &TcpListener, shared: &Arc<Mutex<Shared>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(shared);
        connections.spawn(async move {
            // A client that goes away in the middle is no failure of the service.
            let _ = converse(stream, &shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Requests one behind the other, until the client has had enough.
async fn converse(stream: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if stream.read_line(&mut request).await? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while stream.read_line(&mut header).await? > 2 {
            header.clear();
        }
        let (fate, latency) = decide(shared, &request);
        tokio::time::sleep(latency).await;
        match fate {
            Fate::Answered(status, body) => {
                let head = format!("HTTP/1.1 {status} -\r\nretry-after: 1\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await?;
            }
            Fate::Stalled => tokio::time::sleep(STALL).await,
        }
    }
}

fn decide(shared: &Mutex<Shared>, request: &str) -> (Fate, Duration) {
    let mut shared = lock(shared);
    let parameter = |name: &str| {
        let query = request.split([' ', '?']).nth(2).unwrap_or_default();
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
    };
    let latency = shared.manners.latency;
    if parameter("key") != KEY {
        shared.refused += 1;
        let body = json!({ "error": { "error_code": 10001, "error_message": "Invalid API key." } });
        return (Fate::Answered(401, body.to_string()), latency);
    }
    let ip = parameter("ip");
    *shared.calls.entry(ip.clone()).or_default() += 1;
    let Manners { failing, stalling, limiting, .. } = shared.manners;
    let fate = match shared.random.below(100) {
        at if at < failing => Fate::Answered(500, String::new()),
        at if at < failing + stalling => Fate::Stalled,
        at if at < failing + stalling + limiting => Fate::Answered(429, String::new()),
        _ => {
            let body = json!({
                "ip": ip, "country_code": country(&ip), "region_name": state(&ip), "city_name": ip, "is_proxy": false,
            });
            Fate::Answered(200, body.to_string())
        }
    };
    (fate, latency)
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
