//! Certificates and stores made for one run with `openssl`: an authority, servers that it vouches for, a client, and a stranger.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// What opens the PKCS#12 stores.
pub const STORE_PASSWORD: &str = "store-secret";

/// Files in PEM and PKCS#12; a leaf's PEM file holds its key and its certificate.
#[derive(Debug)]
pub struct Certificates {
    /// The authority that the servers and the client are signed by.
    pub authority: PathBuf,
    pub authority_p12: PathBuf,
    /// An authority that signed nothing here.
    pub stranger: PathBuf,
    /// For 127.0.0.1 and localhost.
    pub server: PathBuf,
    /// Signed by the authority, but for another host.
    pub misnamed: PathBuf,
    pub client: PathBuf,
    pub client_p12: PathBuf,
}

impl Certificates {
    /// Makes all of them in `folder`; they are good for two days.
    pub fn make(folder: &Path) -> Result<Certificates, String> {
        Ok(Certificates {
            authority: certificate_authority(folder, "authority")?,
            stranger: certificate_authority(folder, "stranger")?,
            server: leaf(folder, "server", "IP:127.0.0.1,DNS:localhost")?,
            misnamed: leaf(folder, "misnamed", "DNS:elsewhere.invalid")?,
            client: leaf(folder, "client", "DNS:client")?,
            authority_p12: export(folder, "authority.pem", "authority.p12", &["-nokeys"])?,
            client_p12: export(folder, "client.pem", "client.p12", &[])?,
        })
    }
}

fn certificate_authority(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let (subject, key, out) = (
        format!("/CN=contract {name}"),
        format!("{name}.key"),
        format!("{name}.pem"),
    );
    let new = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    openssl(
        folder,
        "req",
        &[
            &new,
            ["-subj", &subject, "-keyout", &key, "-out", &out].as_slice(),
        ]
        .concat(),
    )?;
    Ok(folder.join(out))
}

/// A key and a certificate by the authority, in one file.
fn leaf(folder: &Path, name: &str, subject_names: &str) -> Result<PathBuf, String> {
    let say = |error: std::io::Error| format!("{}: {error}", folder.display());
    let [key, request, certificate, extensions] =
        ["key", "csr", "crt", "ext"].map(|ending| format!("{name}.{ending}"));
    let usage = "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth";
    let text = format!("{usage}\nsubjectAltName={subject_names}\n");
    std::fs::write(folder.join(&extensions), text).map_err(say)?;
    let subject = format!("/CN={name}");
    let new = ["-new", "-newkey", "rsa:2048", "-nodes", "-subj", &subject];
    openssl(
        folder,
        "req",
        &[&new, ["-keyout", &key, "-out", &request].as_slice()].concat(),
    )?;
    let by = [
        "-req",
        "-days",
        "2",
        "-CA",
        "authority.pem",
        "-CAkey",
        "authority.key",
        "-CAcreateserial",
    ];
    let files = [
        "-in",
        &request,
        "-extfile",
        &extensions,
        "-out",
        &certificate,
    ];
    openssl(folder, "x509", &[&by, files.as_slice()].concat())?;
    let pem = folder.join(format!("{name}.pem"));
    let mut both = std::fs::read(folder.join(key)).map_err(say)?;
    both.extend(std::fs::read(folder.join(certificate)).map_err(say)?);
    std::fs::write(&pem, both).map_err(say)?;
    Ok(pem)
}

fn export(folder: &Path, pem: &str, store: &str, options: &[&str]) -> Result<PathBuf, String> {
    let password = format!("pass:{STORE_PASSWORD}");
    let export = ["-export", "-in", pem, "-out", store, "-passout", &password];
    openssl(folder, "pkcs12", &[&export, options].concat())?;
    Ok(folder.join(store))
}

fn openssl(folder: &Path, command: &str, arguments: &[&str]) -> Result<(), String> {
    let mut openssl = Command::new("openssl");
    openssl.arg(command).args(arguments).current_dir(folder);
    process::output_of(&mut openssl).map(drop)
}
