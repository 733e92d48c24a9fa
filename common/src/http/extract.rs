//! Extractors whose rejections are problems.
//!
//! They read an object; `service::input` finds every fault of its fields in one go. `body` names
//! the whole.

use super::head;
use super::reading::read;
use crate::error::Error;
use crate::service::FieldType;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::Value;
use std::convert::Infallible;

const JSON: &str = "application/json";
const JSON_OR_FORM: &str = "application/json or application/x-www-form-urlencoded";

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

/// A JSON body that may be missing: then it has no field. Any program can ask for what has a
/// default.
#[derive(Clone, Copy, Debug)]
pub struct JsonOrNothing<T>(pub T);

/// A JSON body or an HTML form.
#[derive(Clone, Copy, Debug)]
pub struct FormOrJson<T>(pub T);

/// The query of the address.
#[derive(Clone, Copy, Debug)]
pub struct QueryParams<T>(pub T);

/// The parts of the path. A part that does not fit makes a path that does not exist.
#[derive(Clone, Copy, Debug)]
pub struct PathParams<T>(pub T);

/// The program that sends the request, as it names itself in `User-Agent`.
#[derive(Clone, Debug)]
pub struct ProgramName(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for ProgramName {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let given = parts.headers.get(USER_AGENT).map(|name| String::from_utf8_lossy(name.as_bytes()));
        Ok(Self(given.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        if !is_json(&media_type(&request)) {
            return Err(Error::UnsupportedMediaType(JSON));
        }
        from_json(&read(request).await?.0).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonOrNothing<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let is_named = request.headers().contains_key(CONTENT_TYPE);
        if is_named && !is_json(&media_type(&request)) {
            return Err(Error::UnsupportedMediaType(JSON));
        }
        let (body, _taken) = read(request).await?;
        match &body[..] {
            [] => from_json(b"{}").map(Self),
            _ if is_named => from_json(&body).map(Self),
            _ => Err(Error::UnsupportedMediaType(JSON)),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for FormOrJson<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let media_type = media_type(&request);
        if is_json(&media_type) {
            return from_json(&read(request).await?.0).map(Self);
        }
        if media_type != "application/x-www-form-urlencoded" {
            return Err(Error::UnsupportedMediaType(JSON_OR_FORM));
        }
        from_pairs(&read(request).await?.0).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        from_pairs(parts.uri.query().unwrap_or_default().as_bytes()).map(Self)
    }
}

impl<T: FieldType, S: Send + Sync> FromRequestParts<S> for PathParams<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<String>::from_request_parts(parts, state).await.map_err(|_| Error::NotFound)?;
        T::from_text(&path.0).map(Self).ok_or(Error::NotFound)
    }
}

impl<T: FieldType, U: FieldType, S: Send + Sync> FromRequestParts<S> for PathParams<(T, U)> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await.map_err(|_| Error::NotFound)?;
        let parts = T::from_text(&path.0.0).zip(U::from_text(&path.0.1));
        parts.map(Self).ok_or(Error::NotFound)
    }
}

/// The media type without its parameters, in lower case. None where it stands there twice, or where
/// the body is compressed.
fn media_type(request: &Request) -> String {
    let headers = request.headers();
    let is_plain =
        headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let value = head::only(headers, &CONTENT_TYPE).filter(|_| is_plain);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(media_type: &str) -> bool {
    media_type == JSON || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Reads JSON. `BadJson` for what is no JSON, `Invalid` for JSON that is no object.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(_) => Err(Error::invalid("body", "must be a JSON object")),
        Err(error) => Err(Error::BadJson(error.to_string())),
    }
}

/// Reads a form or a query as an object of strings.
pub fn from_pairs<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let pairs = url::form_urlencoded::parse(bytes).into_owned();
    let object: MapDeserializer<'_, _, serde::de::value::Error> = MapDeserializer::new(pairs);
    T::deserialize(object).map_err(|error| Error::invalid("query", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Fields, FromFields, Query, Unchecked};
    use axum::body::Body;

    #[derive(Debug, PartialEq)]
    struct Search {
        limit: i64,
        before: Option<i64>,
        q: String,
    }

    impl FromFields for Search {
        fn read(fields: &mut Fields) -> Self {
            Self { limit: fields.or("limit", 50), before: fields.optional("before"), q: fields.required("q") }
        }
    }

    fn read(result: Result<impl Into<Unchecked<Search>>, Error>) -> Result<Search, Error> {
        let (search, faults) = result?.into().split();
        faults.none().map(|()| search)
    }

    fn json(bytes: &[u8]) -> Result<Search, Error> {
        read(from_json::<Unchecked<Search>>(bytes))
    }

    fn query(bytes: &[u8]) -> Result<Search, Error> {
        read(from_pairs::<Query<Search>>(bytes))
    }

    fn fields(result: Result<Search, Error>) -> Vec<String> {
        match result {
            Err(Error::Invalid(faults)) => faults.into_iter().map(|fault| fault.field).collect(),
            other => panic!("not Invalid: {other:?}"),
        }
    }

    #[test]
    fn a_body_that_fits_is_read_and_unknown_fields_are_ignored() {
        let search = json(br#"{"q":"a","limit":7,"more":[{}]}"#).expect("fits");
        assert_eq!(search, Search { limit: 7, before: None, q: "a".into() });
    }

    fn request(headers: &[(&str, &str)], body: &'static str) -> Request {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(body)).expect("a request")
    }

    #[tokio::test]
    async fn a_body_is_of_one_media_type_and_not_compressed() {
        const JSON: (&str, &str) = ("content-type", "application/json");
        for (headers, fits) in [
            (&[JSON][..], true),
            (&[("content-type", "Application/vnd.x+json; charset=utf-8")], true),
            (&[JSON, ("content-encoding", "Identity")], true),
            (&[JSON, ("content-type", "text/plain")], false),
            (&[JSON, JSON], false),
            (&[JSON, ("content-encoding", "gzip")], false),
            (&[("content-type", "text/json")], false),
            (&[], false),
        ] {
            let json = JsonBody::<Value>::from_request(request(headers, "{}"), &()).await.map(|JsonBody(read)| read);
            let form =
                FormOrJson::<Value>::from_request(request(headers, "{}"), &()).await.map(|FormOrJson(read)| read);
            for read in [json, form] {
                assert_eq!(read.map_err(|error| error.status()).err(), (!fits).then_some(415), "{headers:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_whose_fields_have_defaults_may_be_missing() {
        const JSON: (&str, &str) = ("content-type", "application/json");
        for (headers, body, answer) in [
            (&[][..], "", Ok("{}")),
            (&[JSON], "", Ok("{}")),
            (&[JSON], "{\"a\":1}", Ok("{\"a\":1}")),
            (&[JSON], "{", Err(400)),
            (&[], "{}", Err(415)),
            (&[("content-type", "text/plain")], "", Err(415)),
        ] {
            let read = JsonOrNothing::<Value>::from_request(request(headers, body), &()).await;
            let read = read.map(|JsonOrNothing(read)| read.to_string()).map_err(|error| error.status());
            assert_eq!(read.as_deref(), answer.as_ref().map(|text| *text), "{headers:?} {body}");
        }
    }

    #[test]
    fn no_json_is_bad_json() {
        for bytes in [&b""[..], b"{", b"\xff", b"{\"q\":\"\\ud800\"}", b"[1,]", b"{} x", &b"[".repeat(500)] {
            assert!(matches!(json(bytes), Err(Error::BadJson(_))), "{bytes:?}");
        }
    }

    #[test]
    fn json_that_is_no_object_is_one_fault() {
        for bytes in [&b"[]"[..], b"3", b"null", b"\"x\""] {
            assert_eq!(fields(json(bytes)), ["body"]);
        }
    }

    #[test]
    fn every_fault_of_a_query_is_reported_at_once() {
        let search = query(b"q=a%20b&limit=7&other=1").expect("fits");
        assert_eq!(search, Search { limit: 7, before: None, q: "a b".into() });
        assert_eq!(fields(query(b"limit=x&before=y")), ["limit", "before", "q"]);
    }

    #[test]
    fn a_field_that_stands_there_twice_is_a_fault_and_an_unknown_one_is_not() {
        assert_eq!(fields(query(b"q=a&limit=1&limit=2")), ["limit"]);
        assert_eq!(fields(query(b"q=a&q=a&before=1&bef%6fre=1")), ["before", "q"]);
        assert_eq!(fields(json(br#"{"q":"a","q":"b","limit":1,"lim\u0069t":null}"#)), ["limit", "q"]);
        assert!(query(b"q=a&x=1&x=2").is_ok() && json(br#"{"q":"a","x":1,"x":2}"#).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_only_ever_answered(bytes: Vec<u8>) {
            drop(json(&bytes));
            drop(query(&bytes));
        }
    }
}
