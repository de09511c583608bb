//! What to say when S3 fails: what, where, what to do, and no secret.
//!
//! A server's answer is not repeated: one that turns a signature down quotes the request with its session token. Only its code
//! is, which is one of a known list.

use std::error::Error as _;

use object_store::Error;
use object_store::path::Path;
use stream_runtime::store::{StoreError, StoreErrorKind};

use super::address::Address;

/// The most of a cause that is told.
const LONGEST_REASON: usize = 200;

/// What was tried where.
pub(super) struct Context<'a> {
    pub(super) action: &'static str,
    pub(super) address: &'a Address,
    pub(super) key: &'a Path,
}

impl Context<'_> {
    /// The failure as the port has it.
    pub(super) fn error(&self, error: &Error) -> StoreError {
        let Context { action, address, key } = self;
        let place = format!("s3://{}/{key}", address.bucket());
        let code = code(error);
        let (kind, message) = match (error, code.as_deref()) {
            (_, Some("NoSuchBucket")) => {
                let (bucket, server) = (address.bucket(), address.server());
                let what_to_do = "make it, or correct the URI or AWS_ENDPOINT_URL";
                (StoreErrorKind::Unavailable, format!("no bucket `{bucket}` at {server}; {what_to_do}"))
            }
            // An upload in parts that is not there: it was put together and the answer was lost, or somebody gave it up.
            (Error::NotFound { .. }, _) if *action == "create" => {
                let message = format!(
                    "cannot {action} `{place}`: its upload is gone; it is tried again with the next checkpoint"
                );
                (StoreErrorKind::Unavailable, message)
            }
            (Error::NotFound { .. }, _) => (StoreErrorKind::NotFound, format!("no object `{place}`")),
            (Error::AlreadyExists { .. }, _) => (StoreErrorKind::Exists, format!("`{place}` is there already")),
            (Error::NotSupported { source }, _) => {
                (StoreErrorKind::Invalid, format!("cannot {action} `{place}`: {source}"))
            }
            (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, code) => {
                let code = code.unwrap_or("no reason is given");
                let message =
                    format!("not allowed to {action} `{place}` at {} ({code}); {}", address.server(), rights(code));
                (StoreErrorKind::Unavailable, message)
            }
            (_, Some("NotImplemented")) => {
                let what_to_do = "use a server with conditional puts (`If-None-Match: *`), as AWS has them";
                let message = format!("{} does not know how to {action} `{place}`; {what_to_do}", address.server());
                (StoreErrorKind::Invalid, message)
            }
            (_, Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")) => {
                let message = format!("`{place}` is in another region; set AWS_REGION to the bucket's");
                (StoreErrorKind::Unavailable, message)
            }
            _ => {
                let (reason, server) = (reason(error), address.server());
                let message = format!("cannot {action} `{place}` at {server}: {reason}; {}", advice(error));
                (StoreErrorKind::Unavailable, message)
            }
        };
        StoreError::new(kind, message)
    }
}

/// The innermost cause in one line, of an answer only its code.
pub(super) fn reason(error: &Error) -> String {
    if let Some(code) = code(error) {
        return format!("it answers {code}");
    }
    let innermost = texts(error).pop().unwrap_or_default();
    let reason = match innermost.split_once("non-2xx status code: ") {
        Some((_, status)) => format!("it answers {}", status.split(':').next().unwrap_or_default()),
        None if innermost.contains('<') => "it answers what S3 does not".to_owned(),
        None => innermost,
    };
    let line: Vec<&str> = reason.split_whitespace().collect();
    line.join(" ").chars().take(LONGEST_REASON).collect()
}

/// The code in S3's answer, which is an XML document.
fn code(error: &Error) -> Option<String> {
    texts(error).iter().find_map(|text| {
        let (_, rest) = text.split_once("<Code>")?;
        let (code, _) = rest.split_once("</Code>")?;
        let is_code = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_code.then(|| code.to_owned())
    })
}

fn rights(code: &str) -> &'static str {
    match code {
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" => "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "ExpiredToken" | "InvalidToken" => "AWS_SESSION_TOKEN is out of date: get another one",
        "RequestTimeTooSkewed" => "set this machine's clock",
        _ => {
            "the key needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload there, and s3:ListBucket"
        }
    }
}

fn advice(error: &Error) -> &'static str {
    // Without credentials the client asks the machine that AWS keeps for its own.
    if texts(error).iter().any(|text| text.contains("169.254.169.254")) {
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    }
    "check AWS_ENDPOINT_URL, AWS_REGION and the network; it is tried again with the next checkpoint or start"
}

fn texts(error: &Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::super::address::Variables;
    use super::*;

    fn of(
        action: &'static str,
        status_and_body: &str,
        make: impl Fn(String, Box<dyn std::error::Error + Send + Sync>) -> Error,
    ) -> StoreError {
        let address = Address::parse("bucket/jobs", &Variables::new()).expect("an address");
        let source = format!("Server returned non-2xx status code: {status_and_body}");
        let key = Path::from("jobs/a");
        Context { action, address: &address, key: &key }.error(&make(key.to_string(), source.into()))
    }

    fn generic(_: String, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
        Error::Generic { store: "S3", source }
    }

    #[test]
    fn a_missing_bucket_is_not_a_missing_object() {
        let missing = |path, source| Error::NotFound { path, source };
        let bucket = of("read", "404 Not Found: <Error><Code>NoSuchBucket</Code></Error>", missing);
        assert_eq!(bucket.kind, StoreErrorKind::Unavailable);
        assert!(bucket.message.contains("no bucket `bucket` at AWS"), "{bucket}");
        let upload = of("create", "404 Not Found: <Error><Code>NoSuchUpload</Code></Error>", missing);
        assert_eq!(upload.kind, StoreErrorKind::Unavailable, "what is to be created cannot be missing");
        let object = of("read", "404 Not Found: <Error><Code>NoSuchKey</Code></Error>", missing);
        assert_eq!(
            (object.kind, object.message.as_str()),
            (StoreErrorKind::NotFound, "no object `s3://bucket/jobs/a`")
        );
    }

    #[test]
    fn an_answer_is_told_by_its_code_alone() {
        let denied = |path, source| Error::PermissionDenied { path, source };
        let body =
            "403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>hunter2</CanonicalRequest>";
        let error = of("create", body, denied);
        assert!(error.message.contains("AWS_SECRET_ACCESS_KEY") && !error.message.contains("hunter2"), "{error}");
        for body in ["500 Internal Server Error: hunter2", "502 Bad Gateway: <html>hunter2</html>"] {
            let error = of("create", body, generic);
            assert_eq!(error.kind, StoreErrorKind::Unavailable);
            assert!(error.message.contains(&body[..3]) && !error.message.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_server_without_conditional_puts_will_never_do() {
        let error = of("create", "501 Not Implemented: <Error><Code>NotImplemented</Code></Error>", generic);
        assert_eq!(error.kind, StoreErrorKind::Invalid);
        assert!(error.message.contains("If-None-Match"), "{error}");
    }
}
