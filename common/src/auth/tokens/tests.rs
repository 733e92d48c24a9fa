use super::*;
use parking_lot::Mutex;
use serde_json::json;
use time::macros::datetime;

const SECRET: &[u8] = b"a secret of thirty-two bytes, at least";

fn user() -> User {
    User {
        id: UserId(7),
        username: "ann".into(),
        email: "ann@example.org".into(),
        is_active: true,
        created_at: datetime!(2026-01-01 0:00 UTC),
    }
}

fn session() -> Session {
    Session { id: SessionId(3), user_id: UserId(7), key: SessionKey::new([9; 16]), generation: 4 }
}

fn at(now: OffsetDateTime) -> (Tokens, Arc<Mutex<OffsetDateTime>>) {
    let time = Arc::new(Mutex::new(now));
    let clock = Clock::from_fn({
        let time = time.clone();
        move || *time.lock()
    });
    (Tokens::new(SECRET, Duration::from_secs(900), Duration::from_secs(86400), clock), time)
}

fn noon() -> OffsetDateTime {
    datetime!(2026-01-01 12:00 UTC)
}

fn signed(header: &Header, claims: &serde_json::Value, secret: &[u8]) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

fn good_claims() -> serde_json::Value {
    let now = noon().unix_timestamp();
    json!({"sub": "7", "name": "ann", "sid": 3, "key": session().key, "iat": now, "exp": now + 900, "typ": "access"})
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

#[test]
fn the_algorithm_is_pinned_and_the_signature_checked() {
    let (tokens, _) = at(noon());
    let good = signed(&Header::new(Algorithm::HS256), &good_claims(), SECRET);
    assert!(tokens.verify_access(&good).is_ok());

    for wrong in [
        signed(&Header::new(Algorithm::HS384), &good_claims(), SECRET),
        signed(&Header::new(Algorithm::HS512), &good_claims(), SECRET),
        signed(&Header::new(Algorithm::HS256), &good_claims(), b"another secret of thirty-two bytes......"),
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
    let header = Header::new(Algorithm::HS256);
    for (field, value) in [
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
        let token = signed(&header, &claims, SECRET);
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
