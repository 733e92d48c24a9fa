use super::*;
use crate::config::{JwtKeys, test_keys};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use parking_lot::Mutex;
use serde_json::json;
use time::macros::datetime;

const SECRET: &[u8] = b"a secret of thirty-two bytes, at least";

fn user() -> User {
    User {
        id: UserId(7),
        username: "ann".into(),
        email: "ann@example.org".into(),
        display_name: None,
        bio: None,
        is_active: true,
        created_at: datetime!(2026-01-01 0:00 UTC),
    }
}

fn session() -> Session {
    Session { id: SessionId(3), user_id: UserId(7), key: SessionKey::new([9; 16]), generation: 4 }
}

const ISSUER: &str = "0123456789abcdef0123456789abcdef";

fn at(now: OffsetDateTime) -> (Tokens, Arc<Mutex<OffsetDateTime>>) {
    with(Keys::of_secret(SECRET), now)
}

fn with(keys: Keys, now: OffsetDateTime) -> (Tokens, Arc<Mutex<OffsetDateTime>>) {
    let time = Arc::new(Mutex::new(now));
    let clock = Clock::from_fn({
        let time = time.clone();
        move || *time.lock()
    });
    (Tokens::new(keys, ISSUER, Duration::from_secs(900), Duration::from_secs(86400), clock), time)
}

fn noon() -> OffsetDateTime {
    datetime!(2026-01-01 12:00 UTC)
}

fn signed(header: &Header, claims: &serde_json::Value, secret: &[u8]) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

fn good_claims() -> serde_json::Value {
    let now = noon().unix_timestamp();
    json!({"iss": ISSUER, "aud": "messenger", "sub": "7", "name": "ann", "sid": 3, "key": session().key, "iat": now,
           "exp": now + 900, "typ": "access"})
}

/// As a node of the release before issues it.
fn claims_of_before() -> serde_json::Value {
    let mut claims = good_claims();
    let fields = claims.as_object_mut().unwrap();
    fields.remove("iss");
    fields.remove("aud");
    claims
}

fn header(algorithm: Algorithm, typ: Option<&str>) -> Header {
    Header { typ: typ.map(str::to_owned), ..Header::new(algorithm) }
}

fn access() -> Header {
    header(Algorithm::HS256, Some("at+jwt"))
}

#[test]
fn an_access_token_says_who_calls_until_it_ends() {
    let (tokens, time) = at(noon());
    let (token, ends) = tokens.issue_access(&user(), &session()).unwrap();
    assert_eq!(ends, noon() + Duration::from_secs(900));
    let who = tokens.verify_access(&token).unwrap();
    assert_eq!(
        who,
        AccessClaims {
            user: AuthUser { user_id: UserId(7), username: "ann".into(), session_id: SessionId(3), expires_at: ends },
            key: session().key,
        }
    );

    *time.lock() = ends - Duration::from_millis(1);
    assert!(tokens.verify_access(&token).is_ok());
    *time.lock() = ends;
    assert!(matches!(tokens.verify_access(&token), Err(Error::TokenExpired)));
}

#[test]
fn a_token_made_within_a_second_holds_no_less_than_told() {
    let (tokens, _) = at(noon() + Duration::from_millis(1));
    let (_, ends) = tokens.issue_access(&user(), &session()).unwrap();
    assert_eq!(ends, noon() + Duration::from_secs(901));
}

#[test]
fn a_refresh_token_is_no_access_token_and_the_other_way_round() {
    let (tokens, _) = at(noon());
    let refresh = tokens.issue_refresh(&session()).unwrap();
    let (access, _) = tokens.issue_access(&user(), &session()).unwrap();
    assert_eq!(tokens.verify_refresh(&refresh).unwrap(), session());
    assert!(matches!(tokens.verify_access(&refresh), Err(Error::TokenInvalid)));
    assert!(matches!(tokens.verify_refresh(&access), Err(Error::TokenInvalid)));
}

/// The same token under another algorithm's name, signed anew with the same secret.
fn relabelled(good: &str, algorithm: &str) -> String {
    let claims = good.split('.').nth(1).unwrap();
    let head = format!(r#"{{"typ":"at+jwt","alg":"{algorithm}"}}"#);
    let message = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(head));
    let secret = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

#[test]
fn the_algorithm_is_pinned_and_the_signature_checked() {
    let (tokens, _) = at(noon());
    let good = signed(&access(), &good_claims(), SECRET);
    assert!(tokens.verify_access(&good).is_ok());

    for wrong in [
        relabelled(&good, "HS384"),
        relabelled(&good, "HS512"),
        relabelled(&good, "RS256"),
        relabelled(&good, "EdDSA"),
        signed(&access(), &good_claims(), b"another secret of thirty-two bytes......"),
    ] {
        assert!(matches!(tokens.verify_access(&wrong), Err(Error::TokenInvalid)), "{wrong}");
    }

    // `alg: none`, with and without the signature of the good one.
    let (head_and_claims, signature) = good.rsplit_once('.').unwrap();
    let claims = head_and_claims.split_once('.').unwrap().1;
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for wrong in [format!("{none}.{claims}."), format!("{none}.{claims}.{signature}"), format!("{head_and_claims}.")] {
        assert!(matches!(tokens.verify_access(&wrong), Err(Error::TokenInvalid)), "{wrong}");
    }
}

#[test]
fn claims_that_are_missing_or_of_another_shape_make_it_invalid() {
    let (tokens, _) = at(noon());
    let now = noon().unix_timestamp();
    for (field, value) in [
        ("iss", json!(null)),
        ("iss", json!("another deployment")),
        ("iss", json!([ISSUER])),
        ("aud", json!(null)),
        ("aud", json!("another service")),
        ("aud", json!(["messenger", "another service"])),
        ("nbf", json!(now + 1)),
        ("sub", json!("+7")),
        ("sub", json!("07")),
        ("sub", json!("7 ")),
        ("iat", json!(null)),
        ("sub", json!(7)),
        ("sub", json!("seven")),
        ("sub", json!(null)),
        ("sid", json!("3")),
        ("key", json!(null)),
        ("key", json!("short")),
        ("key", json!(7)),
        ("exp", json!("tomorrow")),
        ("exp", json!(null)),
        ("exp", json!(i64::MAX)),
        ("typ", json!("admin")),
        ("typ", json!(null)),
    ] {
        let mut claims = good_claims();
        claims[field] = value.clone();
        let token = signed(&access(), &claims, SECRET);
        assert!(matches!(tokens.verify_access(&token), Err(Error::TokenInvalid)), "{field} = {value}");
    }
}

#[test]
fn what_is_no_token_is_invalid() {
    let (tokens, _) = at(noon());
    for text in ["", ".", "..", "a.b.c", "null", "é.é.é", &"x".repeat(1 << 16)] {
        assert!(matches!(tokens.verify_access(text), Err(Error::TokenInvalid)));
    }
}

#[test]
fn the_two_kinds_have_types_of_their_own_and_extensions_are_refused() {
    let (tokens, _) = at(noon());
    let refused = |header: &Header| tokens.verify_access(&signed(header, &good_claims(), SECRET)).is_err();
    assert!(!refused(&access()));
    for typ in [None, Some("JWT"), Some("rt+jwt"), Some("AT+JWT"), Some("application/at+jwt"), Some("")] {
        assert!(refused(&header(Algorithm::HS256, typ)), "{typ:?}");
    }
    for crit in [vec![], vec!["exp".to_owned()], vec!["b64".to_owned()]] {
        assert!(refused(&Header { crit: Some(crit.clone()), ..access() }), "{crit:?}");
    }
}

#[test]
fn a_token_of_the_release_before_is_valid_and_names_no_deployment() {
    let (tokens, _) = at(noon());
    let before = header(Algorithm::HS256, Some("JWT"));
    assert!(tokens.verify_access(&signed(&before, &claims_of_before(), SECRET)).is_ok());
    for (field, value) in [("iss", ISSUER), ("aud", "messenger")] {
        let mut claims = claims_of_before();
        claims[field] = json!(value);
        assert!(tokens.verify_access(&signed(&before, &claims, SECRET)).is_err(), "{field}");
    }
    let mut refresh = claims_of_before();
    (refresh["typ"], refresh["gen"]) = (json!("refresh"), json!(4));
    assert_eq!(tokens.verify_refresh(&signed(&before, &refresh, SECRET)).unwrap(), session());
}

/// A node of the release before has this decoder: it must take what this release issues.
#[test]
fn a_node_of_the_release_before_takes_our_tokens() {
    #[derive(Deserialize)]
    struct Before {
        sub: String,
        sid: SessionId,
        key: SessionKey,
        iat: i64,
        exp: i64,
        typ: String,
    }
    let (tokens, _) = at(noon());
    let mut validation = jsonwebtoken::Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET);
    let (access, _) = tokens.issue_access(&user(), &session()).unwrap();
    for (token, typ) in [(access, "access"), (tokens.issue_refresh(&session()).unwrap(), "refresh")] {
        let claims = jsonwebtoken::decode::<Before>(token, &key, &validation).unwrap().claims;
        assert_eq!((claims.sub.as_str(), claims.sid, claims.typ.as_str()), ("7", SessionId(3), typ));
        assert!(claims.key == session().key && claims.exp > claims.iat);
    }
}

#[test]
fn a_token_of_another_lifetime_never_outlives_the_one_of_now() {
    let (tokens, _) = at(noon());
    let now = noon().unix_timestamp();
    let token = |typ: &str, kind: &str, iat: i64, exp: i64| {
        let mut claims = good_claims();
        (claims["typ"], claims["gen"]) = (json!(kind), json!(4));
        (claims["iat"], claims["exp"]) = (json!(iat), json!(exp));
        signed(&header(Algorithm::HS256, Some(typ)), &claims, SECRET)
    };
    // Rounded up by a second, as a token made within one is.
    assert!(tokens.verify_access(&token("at+jwt", "access", now, now + 901)).is_ok());
    // By a clock that is ten minutes ahead.
    assert!(tokens.verify_access(&token("at+jwt", "access", now + 600, now + 1500)).is_ok());
    for (iat, exp) in [
        (now, now + 902),
        (now, now + 3600),
        (now - 3000, now + 600),
        (i64::MIN, now + 1),
        (now + 901, now + 1000),
        (now + 901, now + 1801),
        (i64::MAX, now + 1),
    ] {
        let outcome = tokens.verify_access(&token("at+jwt", "access", iat, exp));
        assert!(matches!(outcome, Err(Error::TokenExpired)), "{iat} {exp}");
    }

    // A refresh token is cut to the lifetime of now, and nobody is signed out by a shorter one.
    let refresh = |iat: i64, exp: i64| tokens.verify_refresh(&token("rt+jwt", "refresh", iat, exp));
    assert!(refresh(now, now + 30 * 86400).is_ok());
    assert!(refresh(now - 86399, now + 29 * 86400).is_ok());
    for (iat, exp) in
        [(now - 86401, now + 29 * 86400), (i64::MIN, now + 1), (now + 901, now + 86400), (i64::MAX, now + 1)]
    {
        assert!(matches!(refresh(iat, exp), Err(Error::TokenExpired)), "{iat} {exp}");
    }
}

fn ed25519(secret: Option<&[u8]>, signs: Option<usize>, verify: &[usize]) -> Tokens {
    let keys: JwtKeys = test_keys(signs, verify);
    with(Keys::new(secret, &keys), noon()).0
}

#[test]
fn keys_rotate_without_signing_anybody_out() {
    let issued = |tokens: &Tokens| {
        (tokens.issue_access(&user(), &session()).unwrap().0, tokens.issue_refresh(&session()).unwrap())
    };
    let takes = |tokens: &Tokens, (access, refresh): &(String, String)| {
        (tokens.verify_access(access).is_ok(), tokens.verify_refresh(refresh).is_ok())
    };
    // From the secret to the first key and to the second: each step beside the one before.
    let steps = [
        ed25519(Some(SECRET), None, &[]),
        ed25519(Some(SECRET), None, &[0]),
        ed25519(Some(SECRET), Some(0), &[0]),
        ed25519(Some(SECRET), Some(0), &[0, 1]),
        ed25519(Some(SECRET), Some(1), &[0, 1]),
    ];
    for pair in steps.windows(2) {
        for (one, other) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            assert_eq!(takes(one, &issued(other)), (true, true));
        }
    }
    let gateway = ed25519(None, None, &[1]);
    assert_eq!(takes(&gateway, &issued(&steps[4])), (true, true));
    assert!(gateway.issue_refresh(&session()).is_err(), "it has no key that signs");
    for gone in [&steps[0], &steps[2]] {
        assert_eq!(takes(&gateway, &issued(gone)), (false, false), "a key that was taken away");
    }
}

#[test]
fn a_token_names_its_key_and_no_other_verifies_it() {
    let both = ed25519(None, Some(0), &[0, 1]);
    let (token, _) = both.issue_access(&user(), &session()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let head = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    assert!(head.contains(r#""alg":"EdDSA""#) && head.contains(r#""kid":"key 0""#), "{head}");
    assert!(both.verify_access(&token).is_ok());
    for other in [
        head.replace("key 0", "key 1"),
        head.replace("key 0", "key 2"),
        head.replace("key 0", "../../etc/passwd"),
        head.replace(r#","kid":"key 0""#, ""),
        head.replace("EdDSA", "HS256"),
        head.replace("at+jwt", "JWT"),
    ] {
        let token = format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(&other), parts[1], parts[2]);
        assert!(matches!(both.verify_access(&token), Err(Error::TokenInvalid)), "{other}");
    }
    // The public key as a shared secret: what everybody knows signs nothing.
    let point = test_keys(None, &[0]).public[0].point;
    let forged = signed(&Header { kid: Some("key 0".into()), ..access() }, &good_claims(), &point);
    assert!(matches!(both.verify_access(&forged), Err(Error::TokenInvalid)));
}
