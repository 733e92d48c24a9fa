//! Extractors whose rejections are problems, with every fault that can be found in one go.
//!
//! Unknown fields are ignored. A fault's `field` is the path as the client wrote it (`user_ids[3]`); `body` for the whole.

use crate::error::{Error, FieldError};
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;

/// How many bytes a body may have: put on the request by the middleware.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub usize);

/// The limit where no middleware said one.
const DEFAULT_BODY_LIMIT: usize = 262_144;
/// More faults than these are not looked for.
const MAX_FAULTS: usize = 32;
const JSON: &str = "application/json";
const JSON_OR_FORM: &str = "application/json or application/x-www-form-urlencoded";

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

/// A JSON body or an HTML form.
#[derive(Clone, Copy, Debug)]
pub struct FormOrJson<T>(pub T);

/// The address's query.
#[derive(Clone, Copy, Debug)]
pub struct QueryParams<T>(pub T);

/// The parts of the path; what does not fit is a path that does not exist.
#[derive(Clone, Copy, Debug)]
pub struct PathParams<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        if !is_json(&media_type(&request)) {
            return Err(Error::UnsupportedMediaType(JSON));
        }
        from_json(&read(request).await?).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for FormOrJson<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let media_type = media_type(&request);
        if is_json(&media_type) {
            return from_json(&read(request).await?).map(Self);
        }
        if media_type != "application/x-www-form-urlencoded" {
            return Err(Error::UnsupportedMediaType(JSON_OR_FORM));
        }
        from_pairs(&read(request).await?).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        from_pairs(parts.uri.query().unwrap_or_default().as_bytes()).map(Self)
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParams<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<T>::from_request_parts(parts, state).await.map_err(|_| Error::NotFound)?;
        Ok(Self(path.0))
    }
}

/// The media type without its parameters, in lower case.
fn media_type(request: &Request) -> String {
    let value = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(media_type: &str) -> bool {
    media_type == JSON || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

async fn read(request: Request) -> Result<Bytes, Error> {
    let limit = request.extensions().get::<BodyLimit>().map_or(DEFAULT_BODY_LIMIT, |limit| limit.0);
    let mut body = request.into_body();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Error::BadJson("the body ended early".to_owned()))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            discard(body).await;
            return Err(Error::TooLarge(limit));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// Reads on for a moment what nobody wants: a socket that is closed with bytes unread is reset, and the client may lose the answer.
pub(super) async fn discard(mut body: Body) {
    const ENOUGH: usize = 4 * 1024 * 1024;
    const MOMENT: Duration = Duration::from_secs(2);
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > ENOUGH {
                return;
            }
        }
    };
    // Whether it ended or time was up comes to the same.
    drop(tokio::time::timeout(MOMENT, reading).await);
}

/// Reads JSON: what is no JSON is `BadJson`, what does not fit is `Invalid` with every field that does not.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let first = match serde_json::from_slice::<T>(bytes) {
        Ok(value) => return Ok(value),
        Err(first) => first,
    };
    let value: Value = serde_json::from_slice(bytes).map_err(|e| Error::BadJson(e.to_string()))?;
    if !value.is_object() {
        return Err(Error::invalid("body", "must be a JSON object"));
    }
    let faults = faults_of::<T>(value);
    if faults.is_empty() {
        // What fits once read in full (a field given twice, say) but not as it came.
        return Err(Error::invalid("body", plain(&first.to_string())));
    }
    Err(Error::Invalid(faults))
}

/// All fields that do not fit, one after the other: each found fault is mended with whatever makes the reader go on.
fn faults_of<T: DeserializeOwned>(mut value: Value) -> Vec<FieldError> {
    let mut faults: Vec<FieldError> = Vec::new();
    while faults.len() < MAX_FAULTS {
        let Some((field, message)) = fault_of::<T>(&value) else { break };
        let seen = faults.iter().any(|fault| fault.field == field);
        if seen {
            break;
        }
        let mended = mend::<T>(&value, &field);
        faults.push(FieldError::new(field, message));
        match mended {
            Some(next) => value = next,
            None => break,
        }
    }
    faults
}

/// The first field that does not fit, and why.
fn fault_of<T: DeserializeOwned>(value: &Value) -> Option<(String, String)> {
    let error = serde_path_to_error::deserialize::<_, T>(value).err()?;
    let path = error.path().to_string();
    let message = error.into_inner().to_string();
    if let Some(name) = between(&message, "missing field `") {
        let field = if path == "." { name.to_owned() } else { format!("{path}.{name}") };
        return Some((field, "is required".to_owned()));
    }
    let field = if path == "." { "body".to_owned() } else { path };
    Some((field, plain(&message)))
}

/// The body with something at `field` that the reader takes: its next fault, if any, is another one.
fn mend<T: DeserializeOwned>(value: &Value, field: &str) -> Option<Value> {
    let top = field.split(['.', '[']).next()?;
    let candidates = [
        None,
        Some(Value::Null),
        Some(Value::from("x")),
        Some(Value::from(1)),
        Some(Value::from(true)),
        Some(Value::Array(Vec::new())),
        Some(Value::Object(Map::new())),
    ];
    candidates.into_iter().find_map(|candidate| {
        let mut next = value.clone();
        let object = next.as_object_mut()?;
        match candidate {
            Some(candidate) => object.insert(top.to_owned(), candidate),
            None => object.remove(top),
        };
        let gone = match fault_of::<T>(&next) {
            None => true,
            Some((other, _)) => other.split(['.', '[']).next() != Some(top),
        };
        gone.then_some(next)
    })
}

/// Reads a form or a query.
pub fn from_pairs<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(bytes).into_owned().collect();
    let mut faults: Vec<FieldError> = Vec::new();
    loop {
        let encoded = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        let reader = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(encoded.as_bytes()));
        let error = match serde_path_to_error::deserialize::<_, T>(reader) {
            Ok(value) if faults.is_empty() => return Ok(value),
            Ok(_) => return Err(Error::Invalid(faults)),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let missing = between(&message, "missing field `").map(str::to_owned);
        let field =
            missing.clone().or_else(|| between(&message, "duplicate field `").map(str::to_owned)).unwrap_or(path);
        if faults.iter().any(|fault| fault.field == field) || faults.len() >= MAX_FAULTS {
            return Err(Error::Invalid(faults));
        }
        pairs.retain(|(name, _)| *name != field);
        if missing.is_some() {
            pairs.push((field.clone(), String::new()));
            faults.push(FieldError::new(field, "is required"));
        } else {
            faults.push(FieldError::new(field, plain(&message)));
        }
    }
}

fn between<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    let rest = &message[message.find(before)? + before.len()..];
    rest.split_once('`').map(|(name, _)| name)
}

/// The reader's message without our types' names and not longer than a line.
fn plain(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    let message = match message.find("expected struct ").or_else(|| message.find("expected internally tagged enum ")) {
        Some(at) => format!("{}expected an object", &message[..at]),
        None => message.to_owned(),
    };
    if message.chars().count() <= 200 {
        return message;
    }
    let short: String = message.chars().take(200).collect();
    format!("{short}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Body {
        name: String,
        count: i64,
        #[serde(default)]
        user_ids: Vec<i64>,
        nick: Option<String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Query {
        limit: Option<u32>,
        before: Option<i64>,
        q: String,
    }

    fn fields(result: Result<impl std::fmt::Debug, Error>) -> Vec<(String, String)> {
        match result {
            Err(Error::Invalid(faults)) => faults.into_iter().map(|f| (f.field, f.message)).collect(),
            other => panic!("not Invalid: {other:?}"),
        }
    }

    #[test]
    fn what_fits_is_read_and_unknown_fields_are_ignored() {
        let body: Body = from_json(br#"{"name":"n","count":3,"more":[{}]}"#).expect("fits");
        assert_eq!(body, Body { name: "n".into(), count: 3, user_ids: vec![], nick: None });
    }

    #[test]
    fn what_is_no_json_is_bad_json() {
        for bytes in [&b""[..], b"{", b"\xff", b"{\"name\":\"\\ud800\"}", b"[1,]", b"{} x", &b"[".repeat(500)] {
            assert!(matches!(from_json::<Body>(bytes), Err(Error::BadJson(_))), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_object_is_one_fault() {
        for bytes in [&b"[]"[..], b"3", b"null", b"\"x\""] {
            assert_eq!(fields(from_json::<Body>(bytes)), [("body".into(), "must be a JSON object".into())]);
        }
    }

    #[test]
    fn every_fault_of_a_body_is_told_at_once() {
        let json = br#"{"count":"many","user_ids":[1,"two"],"nick":5}"#;
        let mut names: Vec<_> = fields(from_json::<Body>(json)).into_iter().map(|(field, _)| field).collect();
        names.sort();
        assert_eq!(names, ["count", "name", "nick", "user_ids[1]"]);
        assert_eq!(
            fields(from_json::<Body>(b"{}")),
            [("name".to_owned(), "is required".to_owned()), ("count".to_owned(), "is required".to_owned())]
        );
    }

    #[test]
    fn numbers_out_of_range_do_not_fit() {
        for count in ["9223372036854775808", "1e30", "1.5", "-1e400"] {
            let json = format!(r#"{{"name":"n","count":{count}}}"#);
            let error = from_json::<Body>(json.as_bytes()).expect_err("does not fit");
            assert!(matches!(error, Error::Invalid(_) | Error::BadJson(_)), "{count}: {error:?}");
        }
    }

    #[test]
    fn a_field_given_twice_is_a_fault_and_no_panic() {
        let error = from_json::<Body>(br#"{"name":"n","name":"m","count":1}"#).expect_err("twice");
        assert_eq!(error.code(), "invalid");
    }

    #[test]
    fn every_fault_of_a_query_is_told_at_once() {
        let query: Query = from_pairs(b"q=a%20b&limit=7&other=1").expect("fits");
        assert_eq!(query, Query { limit: Some(7), before: None, q: "a b".into() });
        let names: Vec<_> =
            fields(from_pairs::<Query>(b"limit=-1&before=x&limit=2")).into_iter().map(|(field, _)| field).collect();
        assert_eq!(names, ["limit", "before", "q"]);
    }

    #[test]
    fn a_message_names_no_type_of_ours() {
        assert_eq!(plain("invalid type: null, expected struct Body"), "invalid type: null, expected an object");
        assert!(plain(&"x".repeat(5000)).chars().count() <= 201);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_only_ever_answered(bytes: Vec<u8>) {
            drop(from_json::<Body>(&bytes));
            drop(from_pairs::<Query>(&bytes));
        }
    }
}
