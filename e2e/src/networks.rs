//! A network of its own for each taskmanager, so that what goes over the wire can be counted and slowed down: Linux network namespaces.
//!
//! Each namespace has two wires to this machine: `out` to a bridge where broker, database and jobmanager are, and `exchange` to a bridge that
//! joins the taskmanagers only. Every packet is as long as on Ethernet (offloading is off), so that headers count as they do there.
//! Everything is taken away when the value is dropped; what a process that was killed has left behind, by the next one.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use localcluster::process::Launch;

/// The longest packet without the link's own header, in bytes: a network card would be given more at once.
const MTU: &str = "1500";
/// The host part of this machine's address.
const OURS: u8 = 254;

/// Which wire of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// To Kafka, Postgres and the jobmanager.
    Out,
    /// To the other taskmanagers.
    Exchange,
}

/// What went over a wire, in bytes, Ethernet's header included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Out of the namespace.
    pub sent: u64,
    /// Into it.
    pub received: u64,
}

/// Namespaces, numbered from 1.
#[derive(Debug)]
pub struct Networks {
    /// Of the process that made them: in the names of everything, and in the addresses.
    pid: u32,
    count: u8,
}

impl Networks {
    /// Why there can be none here, if so.
    ///
    /// # Errors
    /// With the reason.
    pub fn available() -> Result<(), &'static str> {
        match () {
            () if !localcluster::user::is_root() => Err("only root makes network namespaces"),
            () if ip(&["-V"]).is_err() => Err("the program `ip` is missing: install iproute2"),
            () => Ok(()),
        }
    }

    /// Makes so many.
    ///
    /// # Errors
    /// If the system refuses, as it does in most containers.
    pub fn make(count: u8) -> Result<Networks> {
        remove_leftovers();
        // Dropped, and with it what was made so far, if anything fails.
        let networks = Networks { pid: std::process::id(), count };
        for wire in [Wire::Out, Wire::Exchange] {
            let bridge = networks.bridge(wire);
            ip(&["link", "add", &bridge, "type", "bridge"])?;
            ip(&["link", "set", &bridge, "up", "gso_max_size", MTU])?;
        }
        let ours = format!("{}/24", networks.host());
        ip(&["addr", "add", &ours, "dev", &networks.bridge(Wire::Out)])?;
        (1..=count).try_for_each(|number| networks.add(number))?;
        Ok(networks)
    }

    fn add(&self, number: u8) -> Result<()> {
        let namespace = self.namespace(number);
        ip(&["netns", "add", &namespace])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        for wire in [Wire::Out, Wire::Exchange] {
            let (ours, theirs) = (self.link(wire, number), wire.name());
            ip(&["link", "add", &ours, "type", "veth", "peer", "name", theirs, "netns", &namespace])?;
            ip(&["link", "set", &ours, "master", &self.bridge(wire), "up", "gso_max_size", MTU])?;
            let address = format!("{}/24", self.address(wire, number));
            ip(&["-n", &namespace, "addr", "add", &address, "dev", theirs])?;
            ip(&["-n", &namespace, "link", "set", theirs, "up", "gso_max_size", MTU])?;
        }
        Ok(())
    }

    /// Where every namespace reaches this machine.
    pub fn host(&self) -> Ipv4Addr {
        self.address(Wire::Out, OURS)
    }

    /// Where others reach what runs in a namespace.
    pub fn address(&self, wire: Wire, number: u8) -> Ipv4Addr {
        // Of those that another run of this program has, most likely others.
        let [.., low] = self.pid.to_be_bytes();
        let (second, third) = (64 + low % 128, if wire == Wire::Out { 0 } else { 1 });
        Ipv4Addr::new(10, second, third, number)
    }

    /// The same process in a namespace.
    #[must_use]
    pub fn within(&self, number: u8, launch: Launch) -> Launch {
        let mut within = Launch::new("ip", launch.log.clone()).args(["netns", "exec", &self.namespace(number)]);
        within = within.args([launch.program.clone()]).args(launch.args.iter().cloned());
        Launch { program: within.program, args: within.args, ..launch }
    }

    /// What went over a wire so far.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn traffic(&self, wire: Wire, number: u8) -> Result<Traffic> {
        let counters = Path::new("/sys/class/net").join(self.link(wire, number)).join("statistics");
        let read = |name: &str| -> Result<u64> {
            let file = counters.join(name);
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
            Ok(text.trim().parse()?)
        };
        // Ours is the other end of theirs.
        Ok(Traffic { sent: read("rx_bytes")?, received: read("tx_bytes")? })
    }

    /// From now on no namespace sends more over this wire than so many megabits a second.
    ///
    /// # Errors
    /// If the system has no such limit, or `tc` is missing.
    pub fn limit(&self, wire: Wire, mbit_per_s: u32) -> Result<()> {
        let rate = format!("{mbit_per_s}mbit");
        for number in 1..=self.count {
            let namespace = self.namespace(number);
            let place = ["-n", &namespace, "qdisc", "replace", "dev", wire.name(), "root"];
            run("tc", &[&place[..], &["tbf", "rate", &rate, "burst", "64kb", "latency", "50ms"]].concat())?;
        }
        Ok(())
    }

    fn namespace(&self, number: u8) -> String {
        format!("gapwise-{}-{number}", self.pid)
    }

    fn bridge(&self, wire: Wire) -> String {
        format!("gw{}{}", self.pid, wire.letter())
    }

    /// This machine's end of a wire. Names of links have 15 bytes at most.
    fn link(&self, wire: Wire, number: u8) -> String {
        format!("{}{number}", self.bridge(wire))
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for number in 1..=self.count {
            let _ = ip(&["netns", "del", &self.namespace(number)]);
        }
        for wire in [Wire::Out, Wire::Exchange] {
            // A namespace goes when its last process does; its wires need not wait for that.
            for number in 1..=self.count {
                let _ = ip(&["link", "del", &self.link(wire, number)]);
            }
            let _ = ip(&["link", "del", &self.bridge(wire)]);
        }
    }
}

impl Wire {
    /// As it is called within a namespace.
    fn name(self) -> &'static str {
        match self {
            Wire::Out => "out",
            Wire::Exchange => "exchange",
        }
    }

    fn letter(self) -> char {
        match self {
            Wire::Out => 'o',
            Wire::Exchange => 'x',
        }
    }
}

/// Of processes that are gone.
fn remove_leftovers() {
    let is_left = |pid: u32| !Path::new("/proc").join(pid.to_string()).exists();
    let namespaces = ip(&["netns", "list"]).unwrap_or_default();
    let named = namespaces.lines().filter_map(|line| line.split_whitespace().next());
    for namespace in named.filter(|name| pid_of_namespace(name).is_some_and(is_left)) {
        let _ = ip(&["netns", "del", namespace]);
    }
    for link in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
        let name = link.file_name().to_string_lossy().into_owned();
        if pid_of_link(&name).is_some_and(is_left) {
            let _ = ip(&["link", "del", &name]);
        }
    }
}

fn pid_of_namespace(name: &str) -> Option<u32> {
    name.strip_prefix("gapwise-")?.split_once('-')?.0.parse().ok()
}

fn pid_of_link(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix("gw")?.split_once(['o', 'x'])?;
    pid.parse().ok()
}

fn ip(args: &[&str]) -> Result<String> {
    run("ip", args)
}

/// In a process group of its own: Ctrl-C must not end what takes things away.
fn run(program: &str, args: &[&str]) -> Result<String> {
    let line = || format!("{program} {}", args.join(" "));
    let said = Command::new(program).args(args).process_group(0).output();
    let said = said.with_context(|| format!("cannot start `{}`", line()))?;
    let words = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.success(), "`{}` failed: {}", line(), words.trim());
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_whose_they_are_and_are_short_enough() {
        let networks = std::mem::ManuallyDrop::new(Networks { pid: 4_194_304, count: 9 });
        assert_eq!(pid_of_namespace(&networks.namespace(9)), Some(4_194_304));
        for wire in [Wire::Out, Wire::Exchange] {
            assert_eq!(pid_of_link(&networks.link(wire, 9)), Some(4_194_304));
            assert_eq!(pid_of_link(&networks.bridge(wire)), Some(4_194_304));
            assert!(networks.link(wire, 255).len() <= 15);
        }
        assert_eq!((pid_of_namespace("gapwise-x-1"), pid_of_link("gwen0"), pid_of_link("eth0")), (None, None, None));
    }

    #[test]
    fn what_is_counted_on_a_wire_is_what_went_over_it_and_nothing_is_left_behind() {
        if let Err(reason) = Networks::available() {
            eprintln!("SKIPPED: {reason}");
            return;
        }
        let networks = match Networks::make(2) {
            Ok(networks) => networks,
            Err(error) => {
                eprintln!("SKIPPED: {error:#}");
                return;
            }
        };
        let listener = std::net::TcpListener::bind((networks.host(), 0)).expect("the bridge has an address");
        let port = listener.local_addr().expect("it is bound").port();
        let before = networks.traffic(Wire::Out, 1).expect("it is there");
        let script = format!("head -c 1000000 /dev/zero > /dev/tcp/{}/{port}", networks.host());
        let mut sender = Command::new("ip");
        let sender = sender.args(["netns", "exec", &networks.namespace(1), "bash", "-c", &script]).spawn();
        let (mut taken, _) = listener.accept().expect("somebody connects");
        let bytes = std::io::copy(&mut taken, &mut std::io::sink()).expect("it is read to its end");
        assert!(sender.expect("`ip` was there").wait().is_ok_and(|status| status.success()));
        let sent = networks.traffic(Wire::Out, 1).expect("it is there").sent - before.sent;
        // 66 bytes of headers for each 1,448 of data.
        assert!(bytes == 1_000_000 && (1_040_000..1_100_000).contains(&sent), "{sent}");
        let (namespace, bridge) = (networks.namespace(1), networks.bridge(Wire::Out));
        drop(networks);
        assert!(!ip(&["netns", "list"]).expect("it lists").contains(&namespace));
        assert!(!Path::new("/sys/class/net").join(bridge).exists());
    }
}
