//! Whether rows could be published into a topic, asked at submit.

use std::time::Duration;

use stream_core::outlet::OutletSpec;
use stream_runtime::connector::ConnectorError;
use tokio::task::spawn_blocking;

use super::Target;
use super::session::take_over;
use crate::kafka::admin::Admin;
use crate::kafka::error::Error;

/// Nobody publishes under it.
const TRIAL_ID: &str = "gapwise-trial";
/// Below the patience of a jobmanager, whose own words would say less.
const TRIAL_WITHIN: Duration = Duration::from_secs(6);

/// Makes sure that the topic is there, which is made if it is missing, and that the cluster gives transactions. Whether records
/// may be written into it is seen when the first are. Needs a tokio runtime.
///
/// # Errors
/// As a user is to read them.
pub(crate) async fn check(spec: &OutletSpec) -> Result<(), ConnectorError> {
    let target = Target::new(spec, TRIAL_ID.to_owned()).map_err(Error::from)?;
    make_topic(&target).await?;
    let trial = spawn_blocking(move || take_over(&target, TRIAL_WITHIN).map(drop));
    match trial.await {
        Ok(answer) => Ok(answer?),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn make_topic(Target { client, topic, .. }: &Target) -> Result<(), Error> {
    let admin = Admin::new(client)?;
    match admin.partitions(topic).await {
        Err(Error::NoTopic { .. }) => {}
        answer => return answer.map(drop),
    }
    let brokers = client.brokers().to_owned();
    let made = admin.create_topic_by_default(topic).await;
    made.map_err(|source| Error::TopicNotMade { topic: topic.clone(), brokers, source: Box::new(source) })?;
    tracing::info!(topic, "created the topic");
    Ok(())
}
