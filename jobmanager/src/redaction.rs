//! The last line of defence against a secret in a message: a client library may quote it, so every cause that comes from
//! outside is searched for the job's secrets before it is kept, logged or shown.

use stream_core::pipeline::Pipeline;

/// The message without the secrets of the pipeline.
pub(crate) fn redact(message: String, pipeline: &Pipeline) -> String {
    pipeline.redaction().apply(message)
}

/// What the job runs, as it may be shown to every client.
pub(crate) fn without_secrets(pipeline: &Pipeline) -> Pipeline {
    let mut shown = pipeline.clone();
    shown.clear_secrets();
    shown
}

/// Whether a URI carries a user, or a password in its query. Specs are shown as they are, so they must not.
pub(crate) fn has_credentials(uri: &str) -> bool {
    let authority = uri.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or(rest));
    let query = uri.split_once('?').map_or("", |(_, query)| query).to_ascii_lowercase();
    authority.contains('@') || query.contains("password=")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stream_core::pipeline::LookupSpec;
    use stream_core::secret::Secret;

    use super::*;
    use crate::testing::pipeline;

    fn lookup(secrets: BTreeMap<String, Secret>) -> LookupSpec {
        LookupSpec { uri: "ip2location:https://h/".to_owned(), properties: [].into(), secrets }
    }

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        let mut pipeline = pipeline(1);
        pipeline.sink.secrets.insert("password".to_owned(), Secret::new("hunter2"));
        pipeline.source.secrets.insert("pin".to_owned(), Secret::new("1"));
        assert_eq!(
            redact("login hunter2@127.0.0.1 with `hunter2` refused".to_owned(), &pipeline),
            "login <secret>@127.0.0.1 with `<secret>` refused"
        );
    }

    #[test]
    fn secret_that_the_pipeline_shows_is_taken_out_where_it_is_a_password() {
        let mut pipeline = pipeline(1);
        pipeline.sink.uri = "postgres://h:5432/bootcamp".to_owned();
        pipeline.sink.secrets.insert("password".to_owned(), Secret::new("bootcamp"));
        assert_eq!(
            redact("cannot reach postgres://me:bootcamp@h:5432/bootcamp".to_owned(), &pipeline),
            "cannot reach postgres://me:<secret>@h:5432/bootcamp"
        );
    }

    #[test]
    fn a_pipeline_is_shown_without_its_secrets() {
        let mut pipeline = pipeline(1);
        pipeline.source.properties.insert("group.id".to_owned(), "g".to_owned());
        let open = pipeline.clone();
        pipeline.sink.secrets.insert("password".to_owned(), Secret::new("hunter2"));
        pipeline.source.secrets.insert("sasl.password".to_owned(), Secret::new("hunter3"));
        pipeline.lookup = Some(lookup([("key".to_owned(), Secret::new("hunter4"))].into()));
        let open = Pipeline { lookup: Some(lookup([].into())), ..open };
        assert_eq!(redact("asked with hunter4".to_owned(), &pipeline), "asked with <secret>");
        assert_eq!(without_secrets(&pipeline), open);
    }

    #[test]
    fn credentials_are_seen_in_authority_and_query_only() {
        for uri in ["postgres://u:p@h/d", "kafka://u@h:1/t", "postgres://h/d?user=u&Password=p"] {
            assert!(has_credentials(uri), "{uri}");
        }
        for uri in ["postgres://h:5432/d", "kafka://h:1,i:2/topic@2", "file:/home/me@work/x.jsonl", "stdin:"] {
            assert!(!has_credentials(uri), "{uri}");
        }
    }
}
