//! The algorithms of our tokens, by `ring`: HS256 (RFC 7518 section 3.2) and Ed25519 (RFC 8037).
//!
//! `jsonwebtoken` takes a provider. Its own ones bring RSA, which nothing here may use.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

/// Nothing here asks for a key's parts: sets of keys are read by `config`.
static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory, verifier_factory, key_utils: KeyUtils::new_unimplemented() };

/// Makes the library use these algorithms. The first call in a process counts.
pub(super) fn install() {
    PROVIDER.install_default().ok();
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as the library has it")]
fn signer_factory(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hmac(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))),
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes());
            Ok(Box::new(Ed25519Signer(pair.map_err(|_| refused(ErrorKind::InvalidEddsaKey))?)))
        }
        _ => Err(refused(ErrorKind::InvalidAlgorithm)),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as the library has it")]
fn verifier_factory(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let bytes = key.try_get_as_bytes()?;
    // A public key must never become a shared secret, whatever a token's header says.
    if key.family() != algorithm.family() {
        return Err(refused(ErrorKind::InvalidAlgorithm));
    }
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes)))),
        Algorithm::EdDSA => Ok(Box::new(Ed25519Verifier(UnparsedPublicKey::new(&ED25519, bytes.to_vec())))),
        _ => Err(refused(ErrorKind::InvalidAlgorithm)),
    }
}

fn refused(kind: ErrorKind) -> Error {
    kind.into()
}

struct Hmac(hmac::Key);

impl Signer<Vec<u8>> for Hmac {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hmac {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        hmac::verify(&self.0, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hmac {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hmac {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

struct Ed25519Signer(Ed25519KeyPair);

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Ed25519Verifier(UnparsedPublicKey<Vec<u8>>);

impl Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        self.0.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::crypto::{sign, verify};

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn the_example_of_rfc_7515_is_signed_and_verified() {
        install();
        let secret = bytes("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0d\
                       HA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let signed = sign(message.as_bytes(), &EncodingKey::from_secret(&secret), Algorithm::HS256).unwrap();
        assert_eq!(signed, signature);
        let key = DecodingKey::from_secret(&secret);
        assert!(verify(signature, message.as_bytes(), &key, Algorithm::HS256).unwrap());
        assert!(!verify(signature, b"another message", &key, Algorithm::HS256).unwrap());
    }

    #[test]
    fn the_example_of_rfc_8037_is_signed_and_verified() {
        install();
        let mut pkcs8 = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        pkcs8.extend(bytes("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"));
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let signed = sign(message, &EncodingKey::from_ed_der(&pkcs8), Algorithm::EdDSA).unwrap();
        assert_eq!(signed, signature);
        let key = DecodingKey::from_ed_der(&bytes("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
        assert!(verify(signature, message, &key, Algorithm::EdDSA).unwrap());
        assert!(!verify(signature, b"another message", &key, Algorithm::EdDSA).unwrap());
    }

    #[test]
    fn a_public_key_is_no_secret_and_the_other_way_round() {
        install();
        let point = [7; 32];
        for (key, algorithm) in [
            (DecodingKey::from_ed_der(&point), Algorithm::HS256),
            (DecodingKey::from_secret(&point), Algorithm::EdDSA),
            (DecodingKey::from_rsa_der(&point), Algorithm::RS256),
            (DecodingKey::from_secret(&point), Algorithm::HS512),
        ] {
            assert!(verify("AA", b"", &key, algorithm).is_err(), "{algorithm:?}");
        }
    }
}
