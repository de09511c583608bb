//! What is exported where, by the standard variables of OpenTelemetry
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>). Endpoint, headers, timeout and compression are read by the exporter
//! itself; here it is decided which signals there are, and what is wrong is said before anything runs.

use url::Url;

use crate::losses::Signal;

/// What a process tells of itself, and to whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `service.name`, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` says otherwise.
    pub service: &'static str,
    /// `service.instance.id`, unless `OTEL_RESOURCE_ATTRIBUTES` says otherwise.
    pub instance: String,
    /// What leaves by OTLP.
    pub otlp: Otlp,
    /// Whether metrics are kept for Prometheus to fetch.
    pub is_scraped: bool,
}

/// What leaves by OTLP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Otlp {
    /// Metrics, if they do.
    pub metrics: Option<Target>,
    /// Spans, if they do.
    pub traces: Option<Target>,
    /// Log records, if they do.
    pub logs: Option<Target>,
}

/// Where a signal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How.
    pub protocol: Protocol,
    /// The collector, for messages: without user, password and query.
    pub shown: String,
}

/// How OTLP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    Http,
}

/// A variable says what cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No URL of a collector.
    #[error(
        "`{variable}` is no address of a collector: write `http://HOST:4317` for gRPC, `http://HOST:4318` for HTTP"
    )]
    Endpoint {
        /// Which.
        variable: String,
    },
    /// No protocol that is spoken here.
    #[error("`{variable}` is `{value}`: choose `grpc` or `http/protobuf`")]
    Protocol {
        /// Which.
        variable: String,
        /// Its value.
        value: String,
    },
    /// No exporter that there is.
    #[error("`{variable}` is `{value}`: choose `otlp` or `none`")]
    Exporter {
        /// Which.
        variable: String,
        /// Its value.
        value: String,
    },
}

impl Otlp {
    /// From variables of the environment; off without an endpoint.
    ///
    /// # Errors
    /// If one says what cannot be done.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variable =
            |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Self::default());
        }
        let target = |signal: Signal| target(signal.variable(), &variable);
        Ok(Otlp { metrics: target(Signal::Metrics)?, traces: target(Signal::Traces)?, logs: target(Signal::Logs)? })
    }

    /// From the process's environment.
    ///
    /// # Errors
    /// If a variable says what cannot be done.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }
}

fn target(signal: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Target>, SettingsError> {
    let exporter = format!("OTEL_{signal}_EXPORTER");
    match variable(&exporter).as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(value) => return Err(SettingsError::Exporter { variable: exporter, value: value.to_owned() }),
    }
    let own_or_general = |setting: &str| {
        let names = [format!("OTEL_EXPORTER_OTLP_{signal}_{setting}"), format!("OTEL_EXPORTER_OTLP_{setting}")];
        names.into_iter().find_map(|name| Some((variable(&name)?, name)))
    };
    let Some((endpoint, name)) = own_or_general("ENDPOINT") else { return Ok(None) };
    let shown = shown(&endpoint).ok_or(SettingsError::Endpoint { variable: name })?;
    let protocol = match own_or_general("PROTOCOL") {
        None => Protocol::Http,
        Some((value, name)) => match value.as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::Http,
            _ => return Err(SettingsError::Protocol { variable: name, value }),
        },
    };
    Ok(Some(Target { protocol, shown }))
}

/// An endpoint without what may be a secret.
fn shown(endpoint: &str) -> Option<String> {
    // The exporters' own type takes less than a browser would, and quotes what it does not take: with the password.
    endpoint.parse::<axum::http::Uri>().ok()?;
    let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{}{port}", url.scheme(), url.host_str()?))
}

impl Signal {
    /// As the names of variables have it.
    fn variable(self) -> &'static str {
        match self {
            Signal::Metrics => "METRICS",
            Signal::Traces => "TRACES",
            Signal::Logs => "LOGS",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn otlp(variables: &[(&str, &str)]) -> Result<Otlp, String> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Otlp::from_variables(find).map_err(|error| error.to_string())
    }

    #[test]
    fn without_an_endpoint_nothing_leaves() {
        assert_eq!(otlp(&[]), Ok(Otlp::default()));
        assert_eq!(
            otlp(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " "), ("OTEL_TRACES_EXPORTER", "otlp")]),
            Ok(Otlp::default())
        );
        let disabled = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), ("OTEL_SDK_DISABLED", "TRUE")];
        assert_eq!(otlp(&disabled), Ok(Otlp::default()));
    }

    #[test]
    fn signals_own_variables_come_before_the_general_ones() {
        let otlp = otlp(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:pass@collector:4317/x?token=y"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://prometheus/api/v1/otlp/v1/metrics"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ])
        .unwrap();
        let target = |protocol, shown: &str| Some(Target { protocol, shown: shown.to_owned() });
        assert_eq!(otlp.metrics, target(Protocol::Http, "https://prometheus"));
        assert_eq!(otlp.traces, target(Protocol::Grpc, "http://collector:4317"));
        assert_eq!(otlp.logs, None);
    }

    #[test]
    fn what_cannot_be_done_is_one_line_that_says_what_can() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        for (variable, value, said) in [
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "collector:4317",
                "`OTEL_EXPORTER_OTLP_ENDPOINT` is no address of a collector",
            ),
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://user:hunter\"2@collector:4317",
                "`OTEL_EXPORTER_OTLP_ENDPOINT` is no address of a collector",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "choose `grpc` or `http/protobuf`"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "kafka", "`OTEL_EXPORTER_OTLP_LOGS_PROTOCOL` is `kafka`"),
            ("OTEL_METRICS_EXPORTER", "prometheus", "choose `otlp` or `none`"),
        ] {
            let error = otlp(&[(variable, value), endpoint]).unwrap_err();
            assert!(error.contains(said) && !error.contains('\n') && !error.contains("hunter"), "{error}");
        }
    }
}
