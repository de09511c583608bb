//! Who tells: the attributes of the process.

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;

use crate::settings::Settings;

/// What a process is, by its settings where `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` do not say it.
pub(crate) fn resource(settings: &Settings) -> Resource {
    let given = Resource::builder().build();
    let is_named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|given| given.contains("service.name="));
    let mut builder = Resource::builder();
    if !is_named {
        builder = builder.with_service_name(settings.service);
    }
    let defaults =
        [("service.instance.id", settings.instance.as_str()), ("service.version", env!("CARGO_PKG_VERSION"))];
    let missing = defaults.into_iter().filter(|(key, _)| given.get(&Key::new(*key)).is_none());
    builder.with_attributes(missing.map(|(key, value)| KeyValue::new(key, value.to_owned()))).build()
}
