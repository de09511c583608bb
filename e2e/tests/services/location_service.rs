//! The connector to a service of locations, against one that is well, fails, stalls, limits, is gone, or does not know the key.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use connectors::RealConnectors;
use e2e::location_api::{KEY, LocationApi, Manners, geodata};
use localcluster::deadline::Deadline;
use stream_core::operator::Answer;
use stream_core::pipeline::LookupSpec;
use stream_core::secret::Secret;
use stream_runtime::connector::Connectors;
use stream_runtime::lookup::{Answers, Lookup};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// Everything is answered by then, whatever the service does.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
struct Inbox(Mutex<Sender<(String, Answer)>>);

impl Answers for Inbox {
    fn answer(&self, key: Vec<u8>, answer: Answer) {
        self.0.lock().unwrap().send((String::from_utf8(key).unwrap(), answer)).unwrap();
    }
}

/// One subtask's look-ups.
struct Subtask {
    lookup: Box<dyn Lookup>,
    inbox: Receiver<(String, Answer)>,
}

impl Subtask {
    fn new(api: &LocationApi, key: &str, properties: &[(&str, &str)]) -> Subtask {
        let properties = properties.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let secrets = [("key".to_owned(), Secret::new(key))].into();
        let spec = LookupSpec { uri: format!("ip2location:{}", api.url()), properties, secrets };
        #[allow(clippy::disallowed_methods, reason = "a test, which asks a few hundred times")]
        let (sender, inbox) = std::sync::mpsc::channel();
        let answers = Arc::new(Inbox(Mutex::new(sender)));
        let lookup = RealConnectors::new(Handle::current()).open_lookup(&spec, NonZeroU32::MIN, answers).unwrap();
        Subtask { lookup, inbox }
    }

    /// The answers to these questions, each of which must come once.
    fn ask(&mut self, ips: &[String]) -> Result<BTreeMap<String, Answer>> {
        block_in_place(|| {
            let deadline = Deadline::after(PATIENCE);
            let mut answers = BTreeMap::new();
            for ip in ips {
                let at_once = self.lookup.ask(ip.as_bytes());
                ensure!(at_once.is_none(), "{ip}: {at_once:?}");
            }
            while answers.len() < ips.len() {
                let left = PATIENCE.saturating_sub(deadline.elapsed());
                let came = self.inbox.recv_timeout(left);
                let (ip, answer) = came.with_context(|| format!("{} of {} answers", answers.len(), ips.len()))?;
                ensure!(answers.insert(ip.clone(), answer).is_none(), "{ip} was answered twice");
            }
            ensure!(self.inbox.try_recv().is_err(), "more answers than questions");
            Ok(answers)
        })
    }
}

fn ips(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("8.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)).collect()
}

fn found(answers: &BTreeMap<String, Answer>) -> Result<usize> {
    for (ip, answer) in answers {
        ensure!(matches!(answer, Answer::Failed) || *answer == Answer::Found(geodata(ip)), "{ip}: {answer:?}");
    }
    Ok(answers.values().filter(|answer| **answer != Answer::Failed).count())
}

fn install_tls() {
    // The client wants one, also for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[tokio::test(flavor = "multi_thread")]
async fn service_that_is_well_is_called_once_for_each_question_and_no_faster_than_told() -> Result<()> {
    install_tls();
    let api = LocationApi::start(1)?;
    let mut subtask = Subtask::new(&api, KEY, &[("rate", "100")]);
    let begun = Deadline::after(PATIENCE);
    let answers = subtask.ask(&ips(0..300))?;
    ensure!(found(&answers)? == 300, "{answers:?}");
    ensure!(api.calls() == 300, "{} calls", api.calls());
    let took = begun.elapsed();
    ensure!(took > Duration::from_millis(2800), "300 calls at 100 a second took {took:?}");
    for ip in ["10.0.0.1", "unknown"] {
        ensure!(subtask.lookup.ask(ip.as_bytes()) == Some(Answer::Nothing), "{ip} is nobody's to know");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn service_that_fails_stalls_and_limits_answers_nearly_all_in_the_end() -> Result<()> {
    install_tls();
    let api = LocationApi::start(2)?;
    api.behave(Manners { failing: 30, stalling: 3, limiting: 1, latency: Duration::from_millis(20) });
    let mut subtask = Subtask::new(&api, KEY, &[("rate", "1000"), ("timeout", "500ms")]);
    let answers = subtask.ask(&ips(0..600))?;
    let found = found(&answers)?;
    let calls = api.calls();
    eprintln!("{found} of 600 found by {calls} calls");
    ensure!(found > 540, "{found} of 600 found");
    ensure!(calls < 600 * 2, "{calls} calls for 600 questions");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn service_that_stalls_is_left_alone_and_used_again_once_it_is_back() -> Result<()> {
    install_tls();
    let api = LocationApi::start(3)?;
    api.behave(Manners { stalling: 100, ..Manners::default() });
    let mut subtask = Subtask::new(&api, KEY, &[("rate", "1000"), ("timeout", "200ms"), ("deadline", "5s")]);
    let begun = Deadline::after(PATIENCE);
    let answers = subtask.ask(&ips(0..2000))?;
    ensure!(found(&answers)? == 0, "{answers:?}");
    let (calls, took) = (api.calls(), begun.elapsed());
    ensure!(calls < 200, "{calls} calls to a service that is gone");
    ensure!(took < Duration::from_secs(5), "nobody had to wait for the deadline, and it took {took:?}");
    api.behave(Manners::default());
    let back = Deadline::after(PATIENCE);
    let mut number = 10_000;
    // Others: those that failed are remembered for a while.
    while found(&subtask.ask(&ips(number..number + 1))?)? == 0 {
        ensure!(back.elapsed() < PATIENCE, "it is not used again");
        number += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answers = subtask.ask(&ips(20_000..20_100))?;
    ensure!(found(&answers)? == 100, "{answers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn key_that_is_not_known_is_shown_to_the_service_a_few_times_and_to_nobody_else() -> Result<()> {
    install_tls();
    let api = LocationApi::start(4)?;
    let mut subtask = Subtask::new(&api, "another-key", &[("rate", "1000")]);
    let answers = subtask.ask(&ips(0..500))?;
    ensure!(found(&answers)? == 0 && api.calls() == 0, "{answers:?}");
    ensure!((1..=16).contains(&api.refused()), "refused {} times", api.refused());
    Ok(())
}
