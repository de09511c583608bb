//! The settings of the service, out of the look-up's spec.

use std::num::NonZeroU32;

use reqwest::Url;
use stream_core::pipeline::LookupSpec;
use stream_core::secret::Secret;
use stream_runtime::connector::{ConnectorError, ConnectorErrorKind};
use stream_runtime::duration;

use crate::geo::calls::Limits;

/// What one subtask asks with.
#[derive(Debug)]
pub struct Settings {
    /// Where the service is.
    pub url: Url,
    /// The key that the service knows us by.
    pub key: Secret,
    /// How often, how long, how many at once.
    pub limits: Limits,
}

impl Settings {
    /// Those of one of `subtasks`: the rate is theirs together.
    ///
    /// # Errors
    /// If one is missing, unknown or out of range.
    pub fn of(spec: &LookupSpec, subtasks: NonZeroU32) -> Result<Self, ConnectorError> {
        let address = spec.uri.strip_prefix("ip2location:").unwrap_or_default();
        let url = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url =
            url.ok_or_else(|| invalid(format!("`{address}` is not the address of a service: write `https://HOST/`")))?;
        let key = spec
            .secrets
            .get("key")
            .cloned()
            .ok_or_else(|| invalid("a service of locations needs a key: set IP_CODING_KEY"))?;
        let mut limits = Limits::default();
        let mut rate = limits.rate;
        for (name, value) in &spec.properties {
            match name.as_str() {
                "rate" => rate = above_zero(name, value.parse().ok())?,
                "timeout" => limits.timeout = above_zero(name, duration::parse(value).ok())?,
                "deadline" => limits.deadline = above_zero(name, duration::parse(value).ok())?,
                _ => return Err(invalid(format!("a service of locations has no setting `{name}`"))),
            }
        }
        limits.rate = rate / f64::from(subtasks.get());
        Ok(Settings { url, key, limits })
    }
}

fn above_zero<T: PartialOrd + Default>(name: &str, value: Option<T>) -> Result<T, ConnectorError> {
    value
        .filter(|value| *value > T::default())
        .ok_or_else(|| invalid(format!("the service of locations has a `{name}` that is not above 0")))
}

fn invalid(message: impl Into<String>) -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(uri: &str, properties: &[(&str, &str)]) -> LookupSpec {
        let properties = properties.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let secrets = [("key".to_owned(), Secret::new("hunter2"))].into();
        LookupSpec { uri: uri.to_owned(), properties, secrets }
    }

    #[test]
    fn rate_is_shared_by_the_subtasks() {
        let spec = spec("ip2location:https://api.example/", &[("rate", "30"), ("timeout", "1s"), ("deadline", "1m")]);
        let settings = Settings::of(&spec, NonZeroU32::new(3).expect("not zero")).expect("valid");
        assert_eq!((settings.url.as_str(), settings.key.expose()), ("https://api.example/", "hunter2"));
        assert_eq!((settings.limits.rate, settings.limits.timeout.as_secs()), (10.0, 1));
        assert_eq!(settings.limits.deadline.as_secs(), 60);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_missing_unknown_or_out_of_range_is_refused() {
        let refused = |spec: &LookupSpec| Settings::of(spec, NonZeroU32::MIN).expect_err("refused").message;
        assert!(refused(&spec("ip2location:api.example", &[])).contains("write `https://HOST/`"));
        for (name, value) in [("rate", "0"), ("rate", "NaN"), ("rate", "-1"), ("timeout", "0"), ("deadline", "soon")] {
            assert!(refused(&spec("ip2location:http://h/", &[(name, value)])).contains(name), "{name}={value}");
        }
        assert!(refused(&spec("ip2location:http://h/", &[("color", "red")])).contains("no setting `color`"));
        let keyless = LookupSpec { secrets: [].into(), ..spec("ip2location:http://h/", &[]) };
        assert!(refused(&keyless).contains("IP_CODING_KEY"));
    }
}
