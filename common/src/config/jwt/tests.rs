use super::super::tests::{cluster, read};
use super::super::{Config, Program, SecretKey};
use super::*;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::path::PathBuf;

/// The nth key of these tests, as PKCS#8 and its public part.
fn pair(n: usize) -> (Vec<u8>, [u8; 32]) {
    let mut pkcs8 = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    pkcs8.extend([u8::try_from(n).unwrap() + 1; 32]);
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).unwrap();
    (pkcs8, pair.public_key().as_ref().try_into().unwrap())
}

/// Keys of these numbers, named `key N`.
pub(crate) fn test_keys(signs: Option<usize>, verify: &[usize]) -> JwtKeys {
    let public = verify.iter().map(|n| PublicKey { kid: format!("key {n}"), point: pair(*n).1 }).collect();
    let signing = signs.map(|n| SigningKey { kid: format!("key {n}"), pkcs8: Arc::new(pair(n).0.into()) });
    JwtKeys { signing, public }
}

fn pem(n: usize) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pair(n).0))
}

fn jwk(n: usize) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("key {n}"), "x": URL_SAFE_NO_PAD.encode(pair(n).1)})
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// The configuration of an api without a `SECRET_KEY`, with these files.
fn keyed(program: Program, private: Option<&str>, public: Option<&str>) -> Result<Config, ConfigError> {
    let mut variables = vec![("SECRET_KEY", "")];
    variables.extend(private.map(|path| (PRIVATE, path)));
    variables.extend(public.map(|path| (PUBLIC, path)));
    read(program, &cluster(&variables))
}

#[test]
fn an_api_signs_with_one_key_and_all_verify_with_several() {
    let files = Files::new();
    let (private, public) = (files.with("private.pem", pem(1)), files.with("public.json", set(&[jwk(0), jwk(1)])));
    let api = keyed(Program::Api, Some(&private), Some(&public)).unwrap();
    assert!(matches!(api.secret_key, SecretKey::None));
    let signing = api.jwt.signing.unwrap();
    assert_eq!((signing.kid.as_str(), signing.pkcs8()), ("key 1", &pair(1).0[..]));
    assert_eq!(api.jwt.public, test_keys(None, &[0, 1]).public);
    assert!(!format!("{signing:?}").contains(&format!("{:?}", &pair(1).0[20..24])), "{signing:?}");

    let gateway = keyed(Program::Gateway, None, Some(&public)).unwrap();
    assert!(gateway.jwt.signing.is_none() && gateway.warnings.is_empty());
    // A shared environment may give it a file: it is not even opened.
    let gateway = keyed(Program::Gateway, Some("/nowhere"), Some(&public)).unwrap();
    assert!(gateway.jwt.signing.is_none() && gateway.warnings[0].contains(PRIVATE), "{:?}", gateway.warnings);
}

#[test]
fn the_secret_stays_while_one_gives_way_to_the_other() {
    let files = Files::new();
    let (private, public) = (files.with("private.pem", pem(0)), files.with("public.json", set(&[jwk(0)])));
    for more in [vec![(PUBLIC, public.as_str())], vec![(PUBLIC, public.as_str()), (PRIVATE, private.as_str())]] {
        let config = read(Program::Api, &cluster(&more)).unwrap();
        assert!(matches!(config.secret_key, SecretKey::Given(_)));
        assert_eq!(config.jwt.signing.is_some(), more.len() == 2);
    }
    let line = keyed(Program::Api, None, Some(&public)).unwrap_err().to_string();
    assert!(line.starts_with(PRIVATE) && line.contains("SECRET_KEY"), "{line}");
}

#[test]
fn the_embedded_form_makes_no_secret_beside_an_ed25519_key() {
    let files = Files::new();
    let (private, public) = (files.with("private.pem", pem(0)), files.with("public.json", set(&[jwk(0)])));
    let url = format!("sqlite:{}/chat.db", files.0.path().display());
    let variables = [("DATABASE_URL", url.as_str()), (PUBLIC, &public), (PRIVATE, &private)];
    assert!(matches!(read(Program::Messenger, &variables).unwrap().secret_key, SecretKey::None));
    assert!(matches!(read(Program::Messenger, &variables[..2]).unwrap().secret_key, SecretKey::Missing(_)));
    files.with("chat.db.secret-key", "0123456789abcdefghijklmnopqrstuvwxyzAB");
    assert!(matches!(read(Program::Messenger, &variables).unwrap().secret_key, SecretKey::Given(_)));
}

#[test]
fn a_bad_set_is_one_line_that_names_the_key() {
    let files = Files::new();
    let changed = |field: &str, value: Value| {
        let mut jwk = jwk(0);
        jwk[field] = value;
        jwk
    };
    let without = |field: &str| {
        let mut jwk = jwk(0);
        jwk.as_object_mut().unwrap().remove(field);
        jwk
    };
    for (text, fault) in [
        (String::new(), "no JSON"),
        ("-----BEGIN PUBLIC KEY-----".to_owned(), "no JSON"),
        (pem(0), "holds a private key"),
        ("[]".to_owned(), "no JWK set"),
        (jwk(0).to_string(), "no JWK set"),
        (set(&[]), "has 0 keys"),
        (set(&vec![jwk(0); 33]), "has 33 keys"),
        (set(&[jwk(1), json!("key")]), "key 2: is no object"),
        (set(&[without("kid")]), "key 1: has no kid"),
        (set(&[changed("kid", json!(7))]), "kid is no text"),
        (set(&[changed("kid", json!(""))]), "kid must have"),
        (set(&[changed("kid", json!("k".repeat(65)))]), "kid must have"),
        (set(&[changed("kid", json!("a\nb"))]), "kid must have"),
        (set(&[jwk(0), jwk(1), changed("x", jwk(2)["x"].clone())]), "key 3: has the kid of another"),
        (set(&[jwk(0), changed("kid", json!("other"))]), "key 2: has the key of another"),
        (set(&[without("x")]), "has no x"),
        (set(&[changed("x", json!("AAAA"))]), "x must be 32 bytes"),
        (set(&[changed("x", json!("!"))]), "x must be 32 bytes"),
        (set(&[changed("d", json!("c2VjcmV0"))]), "key 1: is a private key"),
        (set(&[json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0"})]), "is a private key"),
        (set(&[json!({"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"})]), "no Ed25519 key"),
        (set(&[json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": "AA", "y": "AA"})]), "no Ed25519 key"),
        (set(&[changed("crv", json!("X25519"))]), "no Ed25519 key"),
        (set(&[changed("use", json!("enc"))]), "not for signatures"),
        (set(&[changed("alg", json!("RS256"))]), "another algorithm"),
    ] {
        let path = files.with("public.json", &text);
        let line = keyed(Program::Gateway, None, Some(&path)).unwrap_err().to_string();
        assert!(line.starts_with(PUBLIC) && line.contains(fault) && !line.contains('\n'), "{text}: {line}");
        assert!(!line.contains("c2VjcmV0"), "{line}");
    }
}

#[test]
fn a_bad_private_key_is_one_line_that_holds_no_secret() {
    let files = Files::new();
    let public = files.with("public.json", set(&[jwk(0)]));
    let secret = STANDARD.encode(pair(0).0);
    let framed = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let rsa = "MIIBVQIBADANBgkqhkiG9w0BAQEFAASCAT8wggE7AgEAAkEA";
    for (text, fault) in [
        (String::new(), "no PEM file"),
        (secret.clone(), "no PEM file"),
        (framed("PUBLIC KEY", &secret), "holds a public key"),
        (framed("ENCRYPTED PRIVATE KEY", &secret), "encrypted"),
        (framed("RSA PRIVATE KEY", &secret), "another kind of key"),
        (framed("EC PRIVATE KEY", &secret), "another kind of key"),
        (framed("OPENSSH PRIVATE KEY", &secret), "another kind of key"),
        (framed("PRIVATE KEY", rsa), "another kind of key"),
        (framed("PRIVATE KEY", &secret[..40]), "another kind of key"),
        (framed("PRIVATE KEY", "*"), "damaged"),
        (format!("-----BEGIN PRIVATE KEY-----\n{secret}\n"), "damaged"),
        (pem(1), "public part is not in JWT_PUBLIC_KEYS_FILE"),
    ] {
        let path = files.with("private.pem", &text);
        let line = keyed(Program::Api, Some(&path), Some(&public)).unwrap_err().to_string();
        assert!(line.starts_with(PRIVATE) && line.contains(fault) && !line.contains('\n'), "{text}: {line}");
        assert!(!line.contains(&secret[22..40]), "{line}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let files = Files::new();
    let directory = files.0.path().display().to_string();
    let (bytes, long) = (files.with("bytes", [0xff; 8]), files.with("long", vec![b' '; 65_537]));
    for (path, fault) in [
        ("/nowhere/keys.json", "cannot be read"),
        (&directory, "cannot be read"),
        (&bytes, "no text"),
        (&long, "too long"),
    ] {
        let line = keyed(Program::Gateway, None, Some(path)).unwrap_err().to_string();
        assert!(line.starts_with(PUBLIC) && line.contains(path) && line.contains(fault), "{line}");
    }
    let line = keyed(Program::Api, Some("/nowhere/key.pem"), None).unwrap_err().to_string();
    assert!(line.starts_with(PUBLIC) && line.contains("must be given with"), "{line}");
}
