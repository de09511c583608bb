//! What Flink's own scripts would tell the processes.

use std::path::Path;

/// Slots of the taskmanager.
pub(super) const SLOTS: u32 = 2;

/// The ports of a Flink, all on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) rpc: u16,
    pub(super) rest: u16,
    pub(super) gateway: u16,
}

/// `config.yaml`, for all three. A job that fails is to fail, and not to be tried for ever, which is Flink's default. Memory
/// is what `bin/taskmanager.sh` would share out, spelt out: without it a taskmanager does not start.
pub(super) fn config(ports: Ports, dir: &Path) -> String {
    let Ports { rpc, rest, gateway } = ports;
    let tmp = dir.join("tmp");
    format!(
        "jobmanager.rpc.address: 127.0.0.1
jobmanager.bind-host: 127.0.0.1
jobmanager.rpc.port: {rpc}
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: {SLOTS}
taskmanager.cpu.cores: {SLOTS}
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.task.heap.size: 384m
taskmanager.memory.framework.off-heap.size: 64m
taskmanager.memory.task.off-heap.size: 0b
taskmanager.memory.network.min: 32m
taskmanager.memory.network.max: 32m
taskmanager.memory.managed.size: 32m
taskmanager.memory.jvm-metaspace.size: 192m
taskmanager.memory.jvm-overhead.min: 64m
taskmanager.memory.jvm-overhead.max: 64m
sql-gateway.endpoint.rest.address: 127.0.0.1
sql-gateway.endpoint.rest.bind-address: 127.0.0.1
sql-gateway.endpoint.rest.port: {gateway}
execution.target: remote
restart-strategy.type: none
io.tmp.dirs: {}
",
        tmp.display()
    )
}

/// What Java 17 must let Flink look into: `env.java.opts.all` of Flink's own `config.yaml`.
pub fn open_modules() -> impl Iterator<Item = String> {
    const EXPORTED: [&str; 3] =
        ["java.base/sun.net.util", "java.rmi/sun.rmi.registry", "java.security.jgss/sun.security.krb5"];
    const OPENED: [&str; 12] = [
        "java.io",
        "java.lang",
        "java.lang.reflect",
        "java.net",
        "java.nio",
        "java.text",
        "java.time",
        "java.util",
        "java.util.concurrent",
        "java.util.concurrent.atomic",
        "java.util.concurrent.locks",
        "sun.nio.ch",
    ];
    let exported = EXPORTED.iter().map(|package| format!("--add-exports={package}=ALL-UNNAMED"));
    exported.chain(OPENED.iter().map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")))
}
