//! SCRAM, the client's side (RFC 5802, RFC 7677): a salted, iterated password proves itself in both directions and is never sent.
//!
//! Pure: the nonce comes in, messages go out. User names and passwords are taken as their UTF-8 bytes, without SASLprep: so do
//! Kafka's `ScramFormatter` and librdkafka, and a password that was set by one must work with the other.
//!
//! ```text
//! client  n,,n=<user>,r=<nonce>
//! broker  r=<nonce and its own>,s=<salt>,i=<iterations>
//! client  c=biws,r=<both nonces>,p=<proof>
//! broker  v=<signature>
//! ```

use openssl::base64;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::memcmp;
use openssl::pkcs5::pbkdf2_hmac;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use super::Step;

/// What is asked of a salted password at the least (RFC 7677); a broker with fewer would make guessing cheap.
const MIN_ITERATIONS: usize = 4096;

/// About a second of work: a hostile broker must not keep us busy for longer.
const MAX_ITERATIONS: usize = 1_000_000;

/// A message of the mechanism has a few hundred bytes.
const MAX_CHALLENGE_BYTES: usize = 4096;

/// "No channel binding", as the last message repeats it: `n,,` in base64.
const NO_CHANNEL_BINDING: &str = "c=biws";

/// One exchange.
pub(super) struct Client {
    hash: MessageDigest,
    password: String,
    nonce: String,
    first_bare: String,
    expects: Expects,
}

enum Expects {
    Salt,
    /// The signature that only who knows the salted password can make.
    Signature(Vec<u8>),
    Nothing,
}

impl Client {
    pub(super) fn new(hash: MessageDigest, username: &str, password: &str, nonce: &str) -> Client {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        Client {
            hash,
            password: password.to_owned(),
            nonce: nonce.to_owned(),
            first_bare: format!("n={name},r={nonce}"),
            expects: Expects::Salt,
        }
    }

    pub(super) fn first_message(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// What follows the broker's message; `Done` once its signature was right.
    ///
    /// # Errors
    /// What is wrong with the message, in words. The exchange is over then.
    pub(super) fn next(&mut self, challenge: &[u8]) -> Result<Step, String> {
        if challenge.len() > MAX_CHALLENGE_BYTES {
            return Err("its SCRAM message is too long".to_owned());
        }
        let challenge = std::str::from_utf8(challenge)
            .map_err(|_| "its SCRAM message is not text".to_owned())?;
        match std::mem::replace(&mut self.expects, Expects::Nothing) {
            Expects::Salt => {
                let (answer, signature) = self.prove(challenge)?;
                self.expects = Expects::Signature(signature);
                Ok(Step::Send(answer.into_bytes()))
            }
            Expects::Signature(expected) => {
                verify(challenge, &expected)?;
                Ok(Step::Done)
            }
            Expects::Nothing => Err("it goes on after the end of a SCRAM exchange".to_owned()),
        }
    }

    /// The last message, and the signature that the broker must answer with.
    fn prove(&self, server_first: &str) -> Result<(String, Vec<u8>), String> {
        let asked = ServerFirst::parse(server_first, &self.nonce)?;
        let without_proof = format!("{NO_CHANNEL_BINDING},r={}", asked.nonce);
        let signed = format!("{},{server_first},{without_proof}", self.first_bare);
        let (proof, signature) = self
            .proof(&asked, signed.as_bytes())
            .map_err(|_| "the SCRAM computation failed".to_owned())?;
        let proof = base64::encode_block(&proof);
        Ok((format!("{without_proof},p={proof}"), signature))
    }

    fn proof(
        &self,
        asked: &ServerFirst<'_>,
        signed: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
        let salted = salted_password(self.hash, &self.password, &asked.salt, asked.iterations)?;
        let client_key = hmac(self.hash, &salted, b"Client Key")?;
        let stored_key = hash(self.hash, &client_key)?;
        let client_signature = hmac(self.hash, &stored_key, signed)?;
        let proof = client_key.iter().zip(&client_signature);
        let proof = proof.map(|(key, signature)| key ^ signature).collect();
        let server_key = hmac(self.hash, &salted, b"Server Key")?;
        Ok((proof, hmac(self.hash, &server_key, signed)?))
    }
}

/// What the broker asks for.
struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: usize,
}

impl<'a> ServerFirst<'a> {
    fn parse(message: &'a str, own_nonce: &str) -> Result<ServerFirst<'a>, String> {
        let malformed = || "its first SCRAM message is malformed".to_owned();
        let mut parts = message.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
        // A mandatory extension comes first and is unknown to us, so it is malformed as well.
        let nonce = part("r=").ok_or_else(malformed)?;
        let salt = part("s=").ok_or_else(malformed)?;
        let iterations = part("i=").ok_or_else(malformed)?;
        if nonce.len() <= own_nonce.len() || !nonce.starts_with(own_nonce) {
            return Err("its SCRAM nonce does not continue ours".to_owned());
        }
        let salt = base64::decode_block(salt).map_err(|_| malformed())?;
        if salt.is_empty() {
            return Err(malformed());
        }
        let iterations: usize = iterations.parse().map_err(|_| malformed())?;
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            return Err(format!(
                "it asks for {iterations} SCRAM iterations; {MIN_ITERATIONS} to {MAX_ITERATIONS} are accepted"
            ));
        }
        Ok(ServerFirst {
            nonce,
            salt,
            iterations,
        })
    }
}

fn verify(server_final: &str, expected: &[u8]) -> Result<(), String> {
    let first = server_final.split(',').next().unwrap_or_default();
    if let Some(error) = first.strip_prefix("e=") {
        return Err(format!("it refused the SCRAM proof: {error}"));
    }
    let signature = first
        .strip_prefix("v=")
        .and_then(|text| base64::decode_block(text).ok())
        .ok_or("its last SCRAM message is malformed")?;
    if signature.len() != expected.len() || !memcmp::eq(&signature, expected) {
        return Err(
            "its SCRAM signature is wrong: it does not know the password itself".to_owned(),
        );
    }
    Ok(())
}

/// What both sides keep in place of the password: PBKDF2 with HMAC, `Hi` in the RFC.
pub(crate) fn salted_password(
    hash: MessageDigest,
    password: &str,
    salt: &[u8],
    iterations: usize,
) -> Result<Vec<u8>, ErrorStack> {
    let mut salted = vec![0; hash.size()];
    pbkdf2_hmac(password.as_bytes(), salt, iterations, hash, &mut salted)?;
    Ok(salted)
}

pub(super) fn hmac(hash: MessageDigest, key: &[u8], text: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let key = PKey::hmac(key)?;
    Signer::new(hash, &key)?.sign_oneshot_to_vec(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn client() -> Client {
        Client::new(MessageDigest::sha256(), "user", "pencil", NONCE)
    }

    fn sent(step: Result<Step, String>) -> String {
        match step.expect("it goes on") {
            Step::Send(bytes) => String::from_utf8(bytes).expect("text"),
            Step::Done => panic!("it is done"),
        }
    }

    fn refusal(client: &mut Client, challenge: &str) -> String {
        let step = client.next(challenge.as_bytes());
        step.err().expect("it is refused")
    }

    #[test]
    fn scram_sha_256_is_that_of_rfc_7677() {
        let mut client = client();
        assert_eq!(client.first_message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            sent(client.next(SERVER_FIRST.as_bytes())),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(matches!(
            client.next(SERVER_FINAL.as_bytes()),
            Ok(Step::Done)
        ));
    }

    #[test]
    fn the_computation_is_that_of_rfc_5802() {
        let nonce = "fyko+d2lbbFgONRv9qkxdawL";
        let mut client = Client::new(MessageDigest::sha1(), "user", "pencil", nonce);
        let server_first = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
        assert_eq!(
            sent(client.next(server_first.as_bytes())),
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
        );
        let step = client.next(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=");
        assert!(matches!(step, Ok(Step::Done)));
    }

    #[test]
    fn scram_sha_512_agrees_with_published_vectors() {
        let mut client = Client::new(MessageDigest::sha512(), "user", "pencil", NONCE);
        let server_first = "r=rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865,s=Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=,i=4096";
        assert_eq!(
            sent(client.next(server_first.as_bytes())),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865,p=Hc5yec3NmCD7t+kFRw4/3yD6/F3SQHc7AVYschRja+Bc3sbdjlA0eH1OjJc0DD4ghn1tnXN5/Wr6qm9xmaHt4A=="
        );
        let step = client.next(
            b"v=BQuhnKHqYDwQWS5jAw4sZed+C9KFUALsbrq81bB0mh+bcUUbbMPNNmBIupnS2AmyyDnG5CTBQtkjJ9kyY4kzmw==",
        );
        assert!(matches!(step, Ok(Step::Done)));
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_is_refused() {
        let mut client = client();
        sent(client.next(SERVER_FIRST.as_bytes()));
        let wrong = SERVER_FINAL.replace("6rri", "7rri");
        assert!(refusal(&mut client, &wrong).contains("its SCRAM signature is wrong"));
    }

    #[test]
    fn a_signature_of_another_length_is_refused() {
        let mut client = client();
        sent(client.next(SERVER_FIRST.as_bytes()));
        assert!(refusal(&mut client, "v=6rri").contains("its SCRAM signature is wrong"));
    }

    #[test]
    fn an_error_in_place_of_a_signature_is_told() {
        let mut client = client();
        sent(client.next(SERVER_FIRST.as_bytes()));
        assert!(refusal(&mut client, "e=invalid-proof").ends_with("invalid-proof"));
    }

    #[test]
    fn an_exchange_that_goes_on_after_its_end_is_refused() {
        let mut client = client();
        sent(client.next(SERVER_FIRST.as_bytes()));
        client.next(SERVER_FINAL.as_bytes()).expect("done");
        assert!(refusal(&mut client, SERVER_FIRST).contains("after the end"));
    }

    #[test]
    fn malformed_first_messages_are_refused() {
        for (message, expected) in [
            ("", "malformed"),
            ("r=rOprNGfwEbeRWgbNEkqOx", "malformed"),
            ("m=ext,r=rOprNGfwEbeRWgbNEkqOx,s=QSXC,i=4096", "malformed"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096", "malformed"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=QSXC,i=many", "malformed"),
            (
                "r=rOprNGfwEbeRWgbNEkqO,s=QSXC,i=4096",
                "does not continue ours",
            ),
            ("r=another,s=QSXC,i=4096", "does not continue ours"),
            (
                "r=rOprNGfwEbeRWgbNEkqOx,s=QSXC,i=4095",
                "4095 SCRAM iterations",
            ),
            (
                "r=rOprNGfwEbeRWgbNEkqOx,s=QSXC,i=1000001",
                "1000001 SCRAM iterations",
            ),
        ] {
            let refused = refusal(&mut client(), message);
            assert!(refused.contains(expected), "{message}: {refused}");
        }
        assert!(client().next(&[0xff; 8]).is_err());
        assert!(client().next(&[b'r'; 5000]).is_err());
    }

    #[test]
    fn commas_and_equals_signs_in_a_user_name_are_escaped() {
        let client = Client::new(MessageDigest::sha256(), "a,b=c", "pencil", "n");
        assert_eq!(client.first_message(), "n,,n=a=2Cb=3Dc,r=n");
    }
}
