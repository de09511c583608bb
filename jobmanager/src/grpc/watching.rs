//! The stream behind `WatchJob`.

use std::sync::Arc;
use std::time::Duration;

use proto::v1;
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::convert::details;
use crate::handle::ShuttingDown;
use crate::jobs::JobRecord;

/// Messages that may wait for the client; while they do, changes are passed over.
pub(super) const WAITING_DETAILS: usize = 1;
/// The shortest interval that a client can ask for.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// Sends a job's details now and after each change, at most every `interval`, but its end at once. Returns when the job has
/// ended or the client has gone.
pub(super) async fn watch_job(
    mut records: watch::Receiver<Arc<JobRecord>>,
    interval: Duration,
    client: mpsc::Sender<Result<v1::JobDetails, Status>>,
) {
    loop {
        let record = Arc::clone(&records.borrow_and_update());
        if client.send(Ok(details(&record))).await.is_err() || !record.is_live() {
            return;
        }
        let pause = tokio::time::sleep(interval.max(SHORTEST_INTERVAL));
        let changed = tokio::select! {
            biased;
            () = client.closed() => return,
            changed = records.changed() => changed,
        };
        if changed.is_err() {
            let _ = client.send(Err(ShuttingDown.into())).await;
            return;
        }
        tokio::select! {
            biased;
            () = client.closed() => return,
            _ = records.wait_for(|record| !record.is_live()) => {}
            () = pause => {}
        }
    }
}
