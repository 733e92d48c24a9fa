//! The keys of the tokens: the one that signs, and those that a token may be signed with.

use super::jose;
use crate::config::JwtKeys;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::{digest, hmac};

/// The keys that a program signs and verifies with.
pub struct Keys {
    signer: Option<Signer>,
    secret: Option<Verifier>,
    public: Vec<Verifier>,
}

struct Signer {
    algorithm: Algorithm,
    kid: Option<String>,
    key: EncodingKey,
    fingerprint: String,
}

struct Verifier {
    /// Empty for the shared secret.
    kid: String,
    key: DecodingKey,
    validation: Validation,
    fingerprint: String,
}

impl Keys {
    /// The shared secret alone: HS256.
    pub fn of_secret(secret: &[u8]) -> Self {
        Self::new(Some(secret), &JwtKeys::default())
    }

    /// The shared secret, the Ed25519 keys, or both while one gives way to the other. An Ed25519
    /// key that signs comes before the secret.
    pub fn new(secret: Option<&[u8]>, jwt: &JwtKeys) -> Self {
        jose::install();
        let public: Vec<Verifier> = jwt
            .public
            .iter()
            .map(|key| Verifier {
                kid: key.kid.clone(),
                key: DecodingKey::from_ed_der(&key.point),
                validation: signature_by(Algorithm::EdDSA),
                fingerprint: format!(
                    "ed25519:{}:{}",
                    key.kid,
                    short(digest::digest(&digest::SHA256, &key.point).as_ref())
                ),
            })
            .collect();
        let secret = secret.map(|secret| (secret, format!("hs256:{}", fingerprint(secret))));
        let signer = match (&jwt.signing, &secret) {
            (Some(signing), _) => Some(Signer {
                algorithm: Algorithm::EdDSA,
                kid: Some(signing.kid.clone()),
                key: EncodingKey::from_ed_der(signing.pkcs8()),
                fingerprint: public
                    .iter()
                    .find(|key| key.kid == signing.kid)
                    .map(|key| key.fingerprint.clone())
                    .unwrap_or_default(),
            }),
            (None, Some((secret, fingerprint))) => Some(Signer {
                algorithm: Algorithm::HS256,
                kid: None,
                key: EncodingKey::from_secret(secret),
                fingerprint: fingerprint.clone(),
            }),
            (None, None) => None,
        };
        let secret = secret.map(|(secret, fingerprint)| Verifier {
            kid: String::new(),
            key: DecodingKey::from_secret(secret),
            validation: signature_by(Algorithm::HS256),
            fingerprint,
        });
        Self { signer, secret, public }
    }

    /// The header and the key of a new token of that type; `None` in a program without a key that
    /// signs.
    pub(super) fn sign_with(&self, typ: &str) -> Option<(Header, &EncodingKey)> {
        let signer = self.signer.as_ref()?;
        let mut header = Header::new(signer.algorithm);
        header.typ = Some(typ.to_owned());
        header.kid.clone_from(&signer.kid);
        Some((header, &signer.key))
    }

    /// The key that a token with this header must be signed with, and its algorithm, which is the
    /// key's and never the header's choice.
    pub(super) fn verify_with(&self, header: &Header) -> Option<(&DecodingKey, &Validation)> {
        match header.alg {
            Algorithm::HS256 => self.secret.as_ref(),
            Algorithm::EdDSA => {
                let kid = header.kid.as_deref()?;
                self.public.iter().find(|key| key.kid == kid)
            }
            _ => None,
        }
        .map(|found| (&found.key, &found.validation))
    }

    /// The fingerprint of the key that signs.
    pub fn signs(&self) -> Option<&str> {
        self.signer.as_ref().map(|signer| signer.fingerprint.as_str())
    }

    /// The fingerprints of the keys that a token may be signed with. None of them helps to sign.
    pub fn verifies(&self) -> Vec<String> {
        self.secret.iter().chain(&self.public).map(|key| key.fingerprint.clone()).collect()
    }
}

/// What the library checks: the signature, by this one algorithm. `Tokens` checks the rest,
/// against our own clock and without the leeway that the library would add.
fn signature_by(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

/// Of a secret: a code over fixed words, which says as little of the secret as any token does.
fn fingerprint(secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    short(hmac::sign(&key, b"the fingerprint of a key of the messenger").as_ref())
}

/// 64 bits in hexadecimal digits: enough to tell keys apart.
fn short(digest: &[u8]) -> String {
    let bits = digest.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    format!("{bits:016x}")
}
