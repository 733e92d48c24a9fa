//! The keys of the tokens: the one that signs, and those that a token may be signed with.

use super::jose;
use crate::config::JwtKeys;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use sha2::{Digest, Sha256};

/// The keys that a program signs and verifies with.
pub struct Keys {
    signer: Option<Signer>,
    secret: Option<Verifier>,
    public: Vec<Verifier>,
}

struct Signer {
    name: String,
    algorithm: Algorithm,
    kid: Option<String>,
    key: EncodingKey,
}

struct Verifier {
    name: String,
    /// Empty for the shared secret.
    kid: String,
    key: DecodingKey,
    algorithm: Algorithm,
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
                name: name_of_public(&key.kid),
                kid: key.kid.clone(),
                key: DecodingKey::from_ed_der(&key.point),
                algorithm: Algorithm::EdDSA,
            })
            .collect();
        let signer = match (&jwt.signing, secret) {
            (Some(signing), _) => Some(Signer {
                name: name_of_public(&signing.kid),
                algorithm: Algorithm::EdDSA,
                kid: Some(signing.kid.clone()),
                key: EncodingKey::from_ed_der(signing.pkcs8()),
            }),
            (None, Some(secret)) => Some(Signer {
                name: name_of_secret(secret),
                algorithm: Algorithm::HS256,
                kid: None,
                key: EncodingKey::from_secret(secret),
            }),
            (None, None) => None,
        };
        let secret = secret.map(|secret| Verifier {
            name: name_of_secret(secret),
            kid: String::new(),
            key: DecodingKey::from_secret(secret),
            algorithm: Algorithm::HS256,
        });
        Self { signer, secret, public }
    }

    /// The name of the key that signs. It says nothing of the key.
    pub fn signer(&self) -> Option<&str> {
        self.signer.as_ref().map(|signer| signer.name.as_str())
    }

    /// Whether tokens are taken that the key of this name has signed.
    pub fn takes(&self, name: &str) -> bool {
        self.secret.iter().chain(&self.public).any(|key| key.name == name)
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
    pub(super) fn verify_with(&self, header: &Header) -> Option<(&DecodingKey, Algorithm)> {
        match header.alg {
            Algorithm::HS256 => self.secret.as_ref(),
            Algorithm::EdDSA => {
                let kid = header.kid.as_deref()?;
                self.public.iter().find(|key| key.kid == kid)
            }
            _ => None,
        }
        .map(|found| (&found.key, found.algorithm))
    }
}

fn name_of_public(kid: &str) -> String {
    format!("EdDSA:{kid}")
}

/// A digest, of which half is shown: it finds no key, and two keys do not share it.
fn name_of_secret(secret: &[u8]) -> String {
    let digest = Sha256::new().chain_update(b"messenger key name\0").chain_update(secret).finalize();
    digest.iter().take(8).fold("HS256:".to_owned(), |name, byte| name + &format!("{byte:02x}"))
}
