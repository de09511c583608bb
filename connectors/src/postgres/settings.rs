//! How to reach a database: read from a sink's spec, or from a `POSTGRES_URL` in any of its usual spellings.

use std::fmt;
use std::str::FromStr;

use stream_core::pipeline::SinkSpec;
use stream_core::secret::Secret;

use crate::uri::{SinkUri, UriError};

/// A database, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A name or address, or the folder of a Unix socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database; the server takes the user's name if there is none.
    pub database: Option<String>,
    /// The user; `postgres` if there is none.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Whether TLS is used.
    pub ssl_mode: SslMode,
}

/// Whether TLS is used and what it proves, as in libpq.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server has it.
    #[default]
    Prefer,
    /// Always, without asking who the server is.
    Require,
    /// Always, with a certificate by a known authority.
    VerifyCa,
    /// Always, with a certificate for this very host.
    VerifyFull,
}

/// Settings that cannot be used. No text of a URL is shown, since a password may stand in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// See there.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// Not a Postgres URL.
    #[error("the Postgres URL cannot be read: {0}; write `postgres://HOST:PORT/DATABASE`")]
    Url(&'static str),
    /// Not a mode.
    #[error("`{0}` is no sslmode; choose `disable`, `prefer`, `require`, `verify-ca` or `verify-full`")]
    SslMode(String),
    /// A property that means nothing here.
    #[error("postgres setting `{0}` is unknown; there are `user` and `sslmode`")]
    UnknownProperty(String),
    /// A secret that means nothing here.
    #[error("postgres secret `{0}` is unknown; there is `password`")]
    UnknownSecret(String),
    /// A password where everyone can see it.
    #[error("the password is a secret; pass it as one, for instance in `POSTGRES_PASSWORD`")]
    NotHidden,
}

const DEFAULT_PORT: u16 = 5432;

/// Postgres' own first user, which the Flink version of the job uses too.
const DEFAULT_USER: &str = "postgres";

impl Settings {
    /// A database at this address.
    pub fn new(host: &str, port: u16) -> Self {
        let host = host.to_owned();
        Settings { host, port, database: None, user: None, password: None, ssl_mode: SslMode::default() }
    }

    /// Reads a sink's URI, settings and secrets.
    ///
    /// # Errors
    /// If it is not a Postgres URI, or a setting is unknown.
    pub fn from_spec(spec: &SinkSpec) -> Result<Self, SettingsError> {
        let SinkUri::Postgres(rest) = SinkUri::parse(&spec.uri)? else {
            return Err(SettingsError::Url("it has another scheme"));
        };
        let mut settings = Settings::new("", DEFAULT_PORT).with_location(rest)?;
        for (name, value) in &spec.properties {
            match name.as_str() {
                "user" => settings.user = Some(value.clone()),
                "sslmode" => settings.ssl_mode = value.parse()?,
                "password" => return Err(SettingsError::NotHidden),
                _ => return Err(SettingsError::UnknownProperty(name.clone())),
            }
        }
        for (name, secret) in &spec.secrets {
            match name.as_str() {
                "password" => settings.password = Some(secret.clone()),
                _ => return Err(SettingsError::UnknownSecret(name.clone())),
            }
        }
        Ok(settings)
    }

    /// The user by name.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or(DEFAULT_USER)
    }

    /// Host and port, for messages.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The URI of a sink for this database, which shows neither user nor password.
    pub fn uri(&self) -> String {
        match &self.database {
            Some(database) => format!("postgres://{}/{}", self.address(), encode(database)),
            None => format!("postgres://{}", self.address()),
        }
    }

    /// The same as a URL for Java's driver. The user is in it unless there is a password: then both go another way, together.
    pub fn jdbc_url(&self) -> String {
        let user = self.password.is_none().then(|| format!("user={}", encode(self.user())));
        let mode = (self.ssl_mode != SslMode::default()).then(|| format!("sslmode={}", self.ssl_mode));
        let parameters: Vec<String> = user.into_iter().chain(mode).collect();
        let mark = if parameters.is_empty() { "" } else { "?" };
        format!("jdbc:postgresql{}{mark}{}", self.uri().trim_start_matches("postgres"), parameters.join("&"))
    }

    /// Fills in `HOST[:PORT][/DATABASE][?…]`.
    fn with_location(mut self, location: &str) -> Result<Self, SettingsError> {
        let (location, parameters) = location.split_once('?').unwrap_or((location, ""));
        let (authority, database) = location.split_once('/').unwrap_or((location, ""));
        if !database.is_empty() {
            self.database = Some(decode(database)?);
        }
        (self.host, self.port) = host_and_port(authority)?;
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            self.set_parameter(name, decode(value)?)?;
        }
        Ok(self)
    }

    /// Takes what we know of a URL's parameters; the others tune another driver.
    fn set_parameter(&mut self, name: &str, value: String) -> Result<(), SettingsError> {
        match name {
            "user" => self.user = Some(value),
            "password" => self.password = Some(Secret::new(value)),
            "dbname" => self.database = Some(value),
            "host" => self.host = value,
            "port" => self.port = value.parse().map_err(|_| SettingsError::Url("its port is no port"))?,
            "sslmode" => self.ssl_mode = value.parse()?,
            // The JDBC driver reads `ssl=true` as its strictest mode.
            "ssl" if value != "false" => self.ssl_mode = SslMode::VerifyFull,
            _ => {}
        }
        Ok(())
    }
}

/// Reads `POSTGRES_URL` as people write it: with `jdbc:` before it or not, as `postgresql://` or `postgres://` with user
/// and password or without, as a bare `HOST[:PORT][/DATABASE]`, or as libpq's `host=… dbname=…`.
impl FromStr for Settings {
    type Err = SettingsError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let url = url.trim();
        let url = url.strip_prefix("jdbc:").unwrap_or(url);
        let settings = Settings::new("localhost", DEFAULT_PORT);
        let rest = match url.split_once("://") {
            Some(("postgresql" | "postgres", rest)) => rest,
            Some(_) => return Err(SettingsError::Url("it has another scheme")),
            None => match url.strip_prefix("postgresql:") {
                // The JDBC driver's short form names a database on this machine.
                Some(database) => return settings.with_location(&format!("/{}", database.trim_start_matches('/'))),
                None if is_keywords(url) => return settings.with_keywords(url),
                None if url.is_empty() => return Err(SettingsError::Url("it is empty")),
                None => url,
            },
        };
        // A password may hold an `@` that somebody forgot to encode; a host cannot.
        let location_starts = rest.find(['/', '?']).unwrap_or(rest.len());
        match rest[..location_starts].rfind('@').or_else(|| rest.rfind('@').filter(|_| !rest.contains('?'))) {
            Some(at) => {
                let (user, password) = rest[..at].split_once(':').map_or((&rest[..at], None), |(u, p)| (u, Some(p)));
                let mut settings = settings.with_location(&rest[at + 1..])?;
                settings.user = Some(decode(user)?).filter(|user| !user.is_empty()).or(settings.user);
                if let Some(password) = password {
                    settings.password = Some(Secret::new(decode(password)?));
                }
                Ok(settings)
            }
            None => settings.with_location(rest),
        }
    }
}

impl Settings {
    fn with_keywords(mut self, text: &str) -> Result<Self, SettingsError> {
        for pair in text.split_whitespace() {
            let (name, value) = pair.split_once('=').ok_or(SettingsError::Url("it is a list of words without `=`"))?;
            self.set_parameter(name, value.trim_matches('\'').to_owned())?;
        }
        Ok(self)
    }
}

fn is_keywords(text: &str) -> bool {
    let name = text.split('=').next().unwrap_or_default();
    text.contains('=') && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn host_and_port(authority: &str) -> Result<(String, u16), SettingsError> {
    if authority.contains(',') {
        return Err(SettingsError::Url("it names several hosts"));
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None | Some("") => DEFAULT_PORT,
        Some(port) => port.parse().ok().filter(|&port| port > 0).ok_or(SettingsError::Url("its port is no port"))?,
    };
    let host = if host.is_empty() { "localhost".to_owned() } else { decode(host)? };
    Ok((host, port))
}

fn decode(text: &str) -> Result<String, SettingsError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &behind[2..];
            }
            // A lone `%` was meant as one.
            None => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    let is_storable = !bytes.contains(&0);
    String::from_utf8(bytes).ok().filter(|_| is_storable).ok_or(SettingsError::Url("it is not UTF-8 once decoded"))
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

impl FromStr for SslMode {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "disable" => Ok(SslMode::Disable),
            // libpq's `allow` tries without first; what it accepts in the end is the same.
            "prefer" | "allow" => Ok(SslMode::Prefer),
            "require" => Ok(SslMode::Require),
            "verify-ca" => Ok(SslMode::VerifyCa),
            "verify-full" => Ok(SslMode::VerifyFull),
            _ => Err(SettingsError::SslMode(text.to_owned())),
        }
    }
}

/// As it is written in a setting.
impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn java_s_driver_gets_the_user_in_the_url_or_with_the_password() {
        let settings: Settings = "postgres://m%26e@[::1]:6/a%20b?sslmode=require".parse().unwrap();
        assert_eq!(settings.jdbc_url(), "jdbc:postgresql://[::1]:6/a%20b?user=m%26e&sslmode=require");
        let settings = Settings { password: Some(Secret::new("hunter2")), ssl_mode: SslMode::Prefer, ..settings };
        assert_eq!(settings.jdbc_url(), "jdbc:postgresql://[::1]:6/a%20b");
    }

    /// `user:password@host:port/database mode`, with `-` for what is absent.
    fn shown(url: &str) -> String {
        let settings: Settings = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        let password = settings.password.as_ref().map_or("-", Secret::expose);
        let (user, database) = (settings.user.as_deref().unwrap_or("-"), settings.database.as_deref().unwrap_or("-"));
        format!("{user}:{password}@{}/{database} {}", settings.address(), settings.ssl_mode)
    }

    #[test]
    fn urls_are_read_in_all_their_spellings() {
        for (url, expected) in [
            ("jdbc:postgresql://host.docker.internal:5432/postgres", "-:-@host.docker.internal:5432/postgres prefer"),
            ("jdbc:postgresql://h:1/d?user=u&password=p%26w&sslmode=require", "u:p&w@h:1/d require"),
            ("jdbc:postgresql://h/d?ssl=true&reWriteBatchedInserts=true", "-:-@h:5432/d verify-full"),
            ("jdbc:postgresql:d", "-:-@localhost:5432/d prefer"),
            ("postgresql://u:p@h/d", "u:p@h:5432/d prefer"),
            ("postgres://u@h:6543", "u:-@h:6543/- prefer"),
            ("postgres://u:p%40ss%2Fw@h/d", "u:p@ss/w@h:5432/d prefer"),
            ("postgres://u:p@ss@h/d", "u:p@ss@h:5432/d prefer"),
            ("postgres://u:p/w@h/d", "u:p/w@h:5432/d prefer"),
            ("postgres://u:100%@h/d", "u:100%@h:5432/d prefer"),
            ("postgres://[::1]:5433/d", "-:-@[::1]:5433/d prefer"),
            ("postgres:///d", "-:-@localhost:5432/d prefer"),
            ("postgresql://%2Fvar%2Frun%2Fpostgresql/d", "-:-@/var/run/postgresql:5432/d prefer"),
            ("localhost", "-:-@localhost:5432/- prefer"),
            ("db:5433", "-:-@db:5433/- prefer"),
            (" db:5433/web \n", "-:-@db:5433/web prefer"),
            ("host=h port=7 dbname=d user=u password='p' sslmode=disable", "u:p@h:7/d disable"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_a_password_in_the_message() {
        for url in [
            "",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h:0/d",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@a,b/d",
            "postgres://u:hunter2@h/d?sslmode=maybe",
            "postgres://u:hunter2%00@h/d",
        ] {
            let error = url.parse::<Settings>().expect_err(url);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_uri_of_a_sink_hides_who_asks_and_reads_back() {
        let settings: Settings = "postgresql://u:hunter2@[::1]/my db".parse().unwrap();
        assert_eq!(settings.uri(), "postgres://[::1]:5432/my%20db");
        let spec = SinkSpec {
            uri: settings.uri(),
            table: "t".to_owned(),
            side_tables: Vec::new(),
            columns: Vec::new(),
            properties: BTreeMap::from([("user".to_owned(), "u".to_owned())]),
            secrets: BTreeMap::from([("password".to_owned(), Secret::new("hunter2"))]),
        };
        assert_eq!(Settings::from_spec(&spec), Ok(settings));
    }

    #[test]
    fn unknown_settings_are_refused_by_name() {
        let spec = |properties: &[(&str, &str)], secrets: &[&str]| SinkSpec {
            uri: "postgres://h/d".to_owned(),
            table: "t".to_owned(),
            side_tables: Vec::new(),
            columns: Vec::new(),
            properties: properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            secrets: secrets.iter().map(|name| ((*name).to_owned(), Secret::new("x"))).collect(),
        };
        let error = |properties, secrets| Settings::from_spec(&spec(properties, secrets)).unwrap_err();
        assert_eq!(error(&[("password", "hunter2")], &[]), SettingsError::NotHidden);
        assert_eq!(error(&[("options", "-c x")], &[]), SettingsError::UnknownProperty("options".to_owned()));
        assert_eq!(error(&[], &["passwd"]), SettingsError::UnknownSecret("passwd".to_owned()));
        assert_eq!(error(&[("sslmode", "on")], &[]), SettingsError::SslMode("on".to_owned()));
    }
}
