//! A self-signed certificate for the SASL_SSL listener, made by Java's own `keytool`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use crate::jvm::{Java, file};
use crate::program;

/// Protects nothing: the key store lies beside a certificate that nobody else trusts. Java wants six letters.
pub(super) const STORE_PASSWORD: &str = "gapwise";

/// A key store for the broker and the certificate for its clients.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    /// PKCS 12, for the broker.
    pub(super) key_store: PathBuf,
    /// PEM, for a client's `ssl.ca.location`.
    pub(super) pem: PathBuf,
}

/// Makes a certificate for `localhost` and 127.0.0.1 in `dir`; one that is already there is kept.
pub(super) fn make(java: &Java, dir: &Path) -> Result<Certificate, Error> {
    let certificate = Certificate { key_store: dir.join("broker.p12"), pem: dir.join("ca.pem") };
    if certificate.pem.exists() {
        return Ok(certificate);
    }
    let failed = |source| Error::Prepare { step: "certificate", source };
    let _ = fs::remove_file(&certificate.key_store);
    let keytool = |action: &[&str]| {
        program::run(
            Command::new(java.keytool())
                .args(action)
                .args(["-alias", "broker", "-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-keystore"])
                .arg(&certificate.key_store),
        )
    };
    let names =
        ["-dname", "CN=localhost", "-ext", "SAN=dns:localhost,ip:127.0.0.1", "-ext", "BC:c", "-validity", "3650"];
    keytool(&[&["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1"], names.as_slice()].concat())
        .map_err(failed)?;
    let said = keytool(&["-exportcert", "-rfc"]).map_err(failed)?;
    let pem = said.find("-----BEGIN").map_or("", |start| &said[start..]);
    fs::write(&certificate.pem, pem).map_err(file("write", &certificate.pem))?;
    Ok(certificate)
}
