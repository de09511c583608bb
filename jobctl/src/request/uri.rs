//! URIs as users write them: with a user and a password in them, which go their own way from here on, and with paths that
//! mean something only where the user stands.

use std::path::Path;

use stream_core::secret::Secret;

/// A user and a password, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
}

/// A URI with an authority, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uri {
    /// `HOST:PORT`, several with commas between them, or empty.
    pub(crate) hosts: String,
    /// What follows the first `/`, without it.
    pub(crate) path: String,
    pub(crate) credentials: Credentials,
    /// `NAME=VALUE` of the query, less user and password.
    pub(crate) query: Vec<(String, String)>,
}

impl Uri {
    /// Takes apart what follows `scheme://`.
    pub(crate) fn parse(rest: &str) -> Self {
        let (rest, query) = match query_start(rest) {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        };
        // The last `@` there is: a password with an `@` or a `/` in it must not be taken for a part of the host.
        let (userinfo, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut uri = Uri { hosts: hosts.to_owned(), path: path.trim_end_matches('/').to_owned(), ..Uri::default() };
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        uri.credentials.user = Some(decoded(user)).filter(|user| !user.is_empty());
        uri.credentials.password = password.map(|password| Secret::new(decoded(password)));
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "user" => uri.credentials.user = Some(decoded(value)),
                "password" => uri.credentials.password = Some(Secret::new(decoded(value))),
                _ => uri.query.push((name.to_owned(), decoded(value))),
            }
        }
        uri
    }
}

/// The `?` that begins the query. One that is followed by an `@` and no `=` is part of a password.
fn query_start(rest: &str) -> Option<usize> {
    let is_query = |at: usize| match rest[at + 1..].split_once('@') {
        None => true,
        Some((before, _)) => before.contains('='),
    };
    rest.match_indices('?').map(|(at, _)| at).find(|&at| is_query(at))
}

/// `HOST:PORT`s with `port` where a port is missing.
pub(crate) fn with_port(hosts: &str, port: u16) -> String {
    let has_port = |host: &str| host.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
    let hosts = hosts.map(|host| if has_port(host) { host.to_owned() } else { format!("{host}:{port}") });
    hosts.collect::<Vec<_>>().join(",")
}

/// A URI that can be shown: without user, password or query.
pub(crate) fn shown(uri: &str) -> String {
    match uri.split_once("://") {
        None => uri.to_owned(),
        Some((scheme, rest)) => {
            let Uri { hosts, path, .. } = Uri::parse(rest);
            let slash = if path.is_empty() { "" } else { "/" };
            format!("{scheme}://{hosts}{slash}{path}")
        }
    }
}

/// A path, or several with commas between them, from the root on.
pub(crate) fn absolute(paths: &str, folder: &Path) -> String {
    // `file:///data/x` is a path from the root as well as `file:/data/x`.
    let paths = if paths.starts_with("///") { &paths[2..] } else { paths };
    // A comma may be part of a name that exists.
    let whole = folder.join(paths);
    if whole.exists() {
        return whole.to_string_lossy().into_owned();
    }
    let absolute = paths.split(',').map(|path| folder.join(path).to_string_lossy().into_owned());
    absolute.collect::<Vec<_>>().join(",")
}

/// `%41` is `A`. What is no such escape stays as it is: users seldom know that a `%` has to be written `%25`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| tail.get(..2)).flatten().and_then(hex);
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> (String, String, Option<String>, Option<String>) {
        let Uri { hosts, path, credentials, .. } = Uri::parse(rest);
        (hosts, path, credentials.user, credentials.password.map(|secret| secret.expose().to_owned()))
    }

    #[test]
    fn user_and_password_are_split_off_wherever_they_stand() {
        let expect = |user: Option<&str>, password: Option<&str>| {
            ("h:1".to_owned(), "db".to_owned(), user.map(str::to_owned), password.map(str::to_owned))
        };
        assert_eq!(parse("h:1/db"), expect(None, None));
        assert_eq!(parse("me@h:1/db/"), expect(Some("me"), None));
        assert_eq!(parse("me:p%40ss@h:1/db"), expect(Some("me"), Some("p@ss")));
        assert_eq!(parse("me:p@s/s%zz@h:1/db"), expect(Some("me"), Some("p@s/s%zz")));
        assert_eq!(parse("me:p?ss@h:1/db"), expect(Some("me"), Some("p?ss")));
        assert_eq!(parse("h:1/db?user=me&password=p%26q"), expect(Some("me"), Some("p&q")));
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        assert_eq!(shown("postgres://me:hunter2@h:1/db?password=hunter2"), "postgres://h:1/db");
        assert_eq!(shown("file:a b.jsonl"), "file:a b.jsonl");
    }

    #[test]
    fn missing_ports_are_added() {
        assert_eq!(with_port("a, b:1,[::1],[::1]:2", 9092), "a:9092,b:1,[::1]:9092,[::1]:2");
        assert_eq!(with_port("", 9092), "");
    }

    #[test]
    fn relative_paths_become_absolute() {
        let here = Path::new("/here");
        assert_eq!(absolute("a.jsonl,/b.jsonl,c/*.gz", here), "/here/a.jsonl,/b.jsonl,/here/c/*.gz");
        assert_eq!(absolute("///data/x", here), "/data/x");
    }
}
