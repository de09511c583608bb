//! From a deployment to channels: a gate for each task that has input, a sender for each pair of subtasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use stream_core::ids::SubtaskId;
use stream_core::pipeline::Exchange;
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::exchange::directory::{ChannelKey, Inlet, Payload};
use crate::exchange::error::Peer;
use crate::exchange::gate::Gate;
use crate::exchange::grpc::upstream::Link;
use crate::exchange::outputs::{Outputs, Sender};
use crate::exchange::remote::RemoteChannel;

/// The channels of an attempt, as far as they begin or end here.
#[derive(Debug, Default)]
pub(crate) struct Wiring {
    gates: BTreeMap<SubtaskId, Arc<Gate>>,
    senders: BTreeMap<SubtaskId, Vec<Sender>>,
    remotes: Vec<Arc<RemoteChannel>>,
    inlets: Vec<(ChannelKey, Inlet)>,
    links: Vec<Link>,
}

impl Wiring {
    /// The wiring of a checked deployment. A subtask that is not among its tasks runs elsewhere.
    pub(crate) fn new(deployment: &Deployment, channel_bytes: usize, stop: &CancellationToken) -> Self {
        let mut wiring = Wiring::default();
        for &subtask in deployment.tasks.keys() {
            wiring.add_gate(subtask, deployment, channel_bytes, stop);
        }
        for &subtask in deployment.tasks.keys() {
            let targets = deployment.downstream(subtask);
            let senders = targets.into_iter().map(|target| wiring.sender(subtask, target, deployment)).collect();
            wiring.senders.insert(subtask, senders);
        }
        wiring
    }

    /// The gate of a task; none for a source.
    pub(crate) fn gate(&self, subtask: SubtaskId) -> Option<Arc<Gate>> {
        self.gates.get(&subtask).cloned()
    }

    /// The outputs of a task; to nobody for a sink.
    pub(crate) fn outputs(&self, subtask: SubtaskId) -> Outputs {
        Outputs::new(self.senders.get(&subtask).cloned().unwrap_or_default())
    }

    /// Takes the channels that end here and begin elsewhere.
    pub(crate) fn take_inlets(&mut self) -> Vec<(ChannelKey, Inlet)> {
        std::mem::take(&mut self.inlets)
    }

    /// Takes the channels that begin here and end elsewhere.
    pub(crate) fn take_links(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.links)
    }

    /// Closes every channel, which wakes whoever waits for one.
    pub(crate) fn close(&self) {
        self.gates.values().for_each(|gate| gate.close());
        self.remotes.iter().for_each(|remote| remote.close());
    }

    fn add_gate(
        &mut self,
        subtask: SubtaskId,
        deployment: &Deployment,
        channel_bytes: usize,
        stop: &CancellationToken,
    ) {
        let upstream = deployment.upstream(subtask);
        if upstream.is_empty() {
            return;
        }
        let gate = Arc::new(Gate::new(upstream.len(), channel_bytes));
        let payload = payload(subtask, deployment);
        for (channel, &from) in upstream.iter().enumerate() {
            if !deployment.tasks.contains_key(&from) {
                let inlet = Inlet {
                    gate: Arc::clone(&gate),
                    channel,
                    payload: payload.clone(),
                    upstream: peer(from, deployment),
                    stop: stop.clone(),
                };
                self.inlets.push((key(from, subtask, deployment), inlet));
            }
        }
        self.gates.insert(subtask, gate);
    }

    fn sender(&mut self, from: SubtaskId, to: SubtaskId, deployment: &Deployment) -> Sender {
        if let Some(gate) = self.gates.get(&to) {
            return Sender::Local(Arc::clone(gate), from.index.0 as usize);
        }
        let channel = Arc::new(RemoteChannel::default());
        self.remotes.push(Arc::clone(&channel));
        self.links.push(Link {
            channel: Arc::clone(&channel),
            key: key(from, to, deployment),
            from: deployment.name(from),
            to: peer(to, deployment),
            address: deployment.locations[&to].exchange_address.clone(),
        });
        Sender::Remote(channel)
    }
}

fn key(from: SubtaskId, to: SubtaskId, deployment: &Deployment) -> ChannelKey {
    ChannelKey { job_id: deployment.job_id, attempt: deployment.attempt, from, to }
}

fn peer(subtask: SubtaskId, deployment: &Deployment) -> Peer {
    let taskmanager = deployment.locations[&subtask].taskmanager.0.clone();
    Peer { subtask: deployment.name(subtask), taskmanager }
}

fn payload(subtask: SubtaskId, deployment: &Deployment) -> Payload {
    let input = deployment.pipeline.stages[subtask.stage.0 as usize].input;
    Payload { has_events: input != Some(Exchange::Gather), schemas: Arc::new(deployment.pipeline.sink.schemas()) }
}
