//! The Ed25519 keys of the tokens: `JWT_PRIVATE_KEY_FILE` signs, `JWT_PUBLIC_KEYS_FILE` verifies.

use super::raw::Raw;
use super::{ConfigError, Program, parse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

const PRIVATE: &str = "JWT_PRIVATE_KEY_FILE";
const PUBLIC: &str = "JWT_PUBLIC_KEYS_FILE";
/// A set has a few keys; a file beyond this size is another file.
const MAX_FILE_BYTES: u64 = 65_536;
const MAX_KEYS: usize = 32;
/// A `kid` stands in the header of each token.
const MAX_KID_CHARS: usize = 64;

/// The Ed25519 keys of the tokens. None: tokens are signed with `SECRET_KEY`.
#[derive(Clone, Debug, Default)]
pub struct JwtKeys {
    /// Signs the tokens of an api.
    pub signing: Option<SigningKey>,
    /// The keys that a token may be signed with.
    pub public: Vec<PublicKey>,
}

/// A key that signs.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The name of its public part in the set.
    pub kid: String,
    pkcs8: Arc<PrivatePkcs8KeyDer<'static>>,
}

impl SigningKey {
    /// The key as DER (PKCS#8).
    pub fn pkcs8(&self) -> &[u8] {
        self.pkcs8.secret_pkcs8_der()
    }
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its name in the headers of tokens.
    pub kid: String,
    /// RFC 8032, section 5.1.5.
    pub point: [u8; 32],
}

/// Reads both files. A gateway signs nothing, so it does not open the private one.
pub(super) fn read(program: Program, raw: &Raw, warnings: &mut Vec<String>) -> Result<JwtKeys, ConfigError> {
    let (private, public) = (raw.get(PRIVATE)?, raw.get(PUBLIC)?);
    let Some(public) = public else {
        return match private {
            None => Ok(JwtKeys::default()),
            Some(_) => {
                Err(ConfigError::of(PUBLIC, format!("must be given with {PRIVATE}: all programs verify with it")))
            }
        };
    };
    let public = key_set(&contents(PUBLIC, &public)?).map_err(|fault| at(PUBLIC, &public, &fault))?;
    let signing = match private {
        None => None,
        Some(_) if program == Program::Gateway => {
            warnings.push(format!("{PRIVATE} is not read: a gateway signs no token, and needs no key that does"));
            None
        }
        Some(path) => {
            Some(signing_key(&contents(PRIVATE, &path)?, &public).map_err(|fault| at(PRIVATE, &path, &fault))?)
        }
    };
    Ok(JwtKeys { signing, public })
}

fn at(name: &'static str, path: &str, fault: &str) -> ConfigError {
    ConfigError::of(name, format!("{} {fault}", parse::quoted(path)))
}

fn contents(name: &'static str, path: &str) -> Result<String, ConfigError> {
    let size = |path: &Path| std::fs::metadata(path).map(|found| found.len());
    match size(Path::new(path)) {
        Ok(size) if size > MAX_FILE_BYTES => return Err(at(name, path, "is too long for a file of keys")),
        _ => {}
    }
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => at(name, path, "is no text"),
        _ => at(name, path, &format!("cannot be read: {error}")),
    })
}

fn signing_key(pem: &str, public: &[PublicKey]) -> Result<SigningKey, String> {
    const WANTED: &str = "wanted is an Ed25519 key in PKCS#8, as `openssl genpkey -algorithm ed25519` makes it";
    let label = pem.lines().find_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    match label {
        Some("PRIVATE KEY") => {}
        Some("PUBLIC KEY") => return Err(format!("holds a public key; {WANTED}")),
        Some("ENCRYPTED PRIVATE KEY") => return Err(format!("holds an encrypted key; {WANTED}")),
        Some(_) => return Err(format!("holds another kind of key; {WANTED}")),
        None => return Err(format!("is no PEM file; {WANTED}")),
    }
    let pkcs8 =
        PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| format!("is a damaged PEM file; {WANTED}"))?;
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8.secret_pkcs8_der())
        .map_err(|_| format!("holds another kind of key; {WANTED}"))?;
    let point = pair.public_key().as_ref();
    let kid = public.iter().find(|key| key.point == point).map(|key| key.kid.clone());
    let kid = kid.ok_or_else(|| format!("holds a key whose public part is not in {PUBLIC}"))?;
    Ok(SigningKey { kid, pkcs8: Arc::new(pkcs8) })
}

/// A JWK set (RFC 7517, section 5) of Ed25519 keys (RFC 8037, section 2).
fn key_set(text: &str) -> Result<Vec<PublicKey>, String> {
    if text.contains("PRIVATE KEY-----") {
        return Err("holds a private key: it must hold public keys alone".to_owned());
    }
    // The library's error may quote a piece of the file.
    let set: Value = serde_json::from_str(text).map_err(|_| "is no JSON".to_owned())?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or(r#"is no JWK set: {"keys": [...]}"#)?;
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return Err(format!("has {} keys: 1 to {MAX_KEYS} are taken", keys.len()));
    }
    let mut read: Vec<PublicKey> = Vec::with_capacity(keys.len());
    for (index, jwk) in keys.iter().enumerate() {
        let key = public_key(jwk).map_err(|fault| format!("key {}: {fault}", index + 1))?;
        if let Some(other) = read.iter().find(|other| other.kid == key.kid || other.point == key.point) {
            let same = if other.kid == key.kid { "the kid" } else { "the key" };
            return Err(format!("key {}: has {same} of another one", index + 1));
        }
        read.push(key);
    }
    Ok(read)
}

fn public_key(jwk: &Value) -> Result<PublicKey, String> {
    let jwk = jwk.as_object().ok_or("is no object")?;
    if jwk.contains_key("d") || jwk.contains_key("k") {
        return Err("is a private key: the set must hold public keys alone".to_owned());
    }
    let text = |name: &str| match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("{name} is no text")),
    };
    if text("kty")? != Some("OKP") || text("crv")? != Some("Ed25519") {
        return Err(r#"is no Ed25519 key: "kty" must be "OKP", "crv" must be "Ed25519""#.to_owned());
    }
    if text("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(r#"is not for signatures: "use" must be "sig""#.to_owned());
    }
    if text("alg")?.is_some_and(|alg| alg != "EdDSA" && alg != "Ed25519") {
        return Err(r#"is of another algorithm: "alg" must be "EdDSA""#.to_owned());
    }
    let kid = text("kid")?.ok_or("has no kid")?;
    if kid.is_empty() || kid.chars().count() > MAX_KID_CHARS || kid.chars().any(char::is_control) {
        return Err(format!("its kid must have 1 to {MAX_KID_CHARS} characters"));
    }
    let point = URL_SAFE_NO_PAD.decode(text("x")?.ok_or("has no x")?).ok().and_then(|x| x.try_into().ok());
    let point = point.ok_or("x must be 32 bytes in base64url")?;
    Ok(PublicKey { kid: kid.to_owned(), point })
}

#[cfg(any(test, feature = "fuzz"))]
/// Reads a text as each of the files of keys.
pub(crate) fn fuzz(text: &str) {
    let known = key_set(text).unwrap_or_default();
    assert!(known.len() <= MAX_KEYS);
    drop(signing_key(text, &known));
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::test_keys;
