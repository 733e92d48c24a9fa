//! Errors as RFC 9457 problems. The middleware logs an internal fault once; its answer holds a
//! request id and nothing of the inside.

use crate::error::{Error, FieldError};
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use std::sync::Arc;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A problem's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// `about:blank`: `title` is the status's own phrase, `code` says more.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status's phrase.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The fault of this request, in a sentence.
    pub detail: String,
    /// A stable word for a program.
    pub code: String,
    /// Each fault of the request; with `invalid` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<FieldError>>,
}

impl Problem {
    /// A problem of that status.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            errors: None,
        }
    }

    /// The problem of an error, for the client: nothing of the inside.
    pub fn of(error: &Error) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let errors = match error {
            Error::Invalid(errors) => Some(errors.clone()),
            _ => None,
        };
        Self { errors, ..Self::new(status, error.code(), error.detail()) }
    }

    /// The body of its answer.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // A struct of strings always serialises.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.to_json()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}

/// An error on its way out, for the middleware: which one it was, with its source.
#[derive(Clone)]
pub struct Cause(pub Arc<Error>);

/// The code of a request whose caller may not do that, for the middleware.
#[derive(Clone, Copy)]
pub(super) struct Refused(pub(super) &'static str);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = Problem::of(&self).into_response();
        let headers = response.headers_mut();
        match &self {
            Self::RateLimited { retry_after, .. } => {
                // Rounded up, so that no client comes back too early.
                let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            }
            Self::Unavailable(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // RFC 6750, section 3: no error code where no token came.
            Self::Unauthenticated | Self::BadCredentials => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            other if other.status() == 401 => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
            }
            // RFC 9110, section 15.5.22, and RFC 6455, section 4.4: what to ask for instead.
            Self::UpgradeRequired => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        // A wrong password has a line of its own.
        if self.status() == 403 && !matches!(self, Self::WrongPassword | Self::AccountDisabled) {
            response.extensions_mut().insert(Refused(self.code()));
        }
        if self.inside().is_some() {
            response.extensions_mut().insert(Cause(Arc::new(self)));
        }
        response
    }
}

/// An error answer of axum or hyper, which comes in plain text or empty, as a problem.
pub(super) fn normalise(response: Response) -> Response {
    let status = response.status();
    let is_our_own = response.headers().get(CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"application/"));
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || is_our_own {
        return response;
    }
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::of(&Error::NotFound),
        StatusCode::METHOD_NOT_ALLOWED => Problem::of(&Error::MethodNotAllowed),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "too_large", "the body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Problem::new(status, "unsupported_media_type", "this path does not accept the body's media type")
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            Problem::new(status, "unavailable", "the service is unavailable; try again soon")
        }
        status if status.is_server_error() => Problem::new(status, "internal", "something went wrong on the server"),
        status => Problem::new(status, "bad_request", status.canonical_reason().unwrap_or("the request is not valid")),
    };
    let mut answer = problem.into_response();
    for name in [ALLOW, RETRY_AFTER, WWW_AUTHENTICATE, UPGRADE, SEC_WEBSOCKET_VERSION] {
        if let Some(value) = response.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::time::Duration;

    async fn body(response: Response) -> serde_json::Value {
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[tokio::test]
    async fn an_error_is_a_problem_with_its_code() {
        let response = Error::ChatNotFound.into_response();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Not Found", "status": 404,
            "detail": "there is no such chat", "code": "chat_not_found",
        });
        assert_eq!(body(response).await, expected);
    }

    #[tokio::test]
    async fn faults_of_a_request_are_all_told() {
        let faults = vec![FieldError::new("name", "too long"), FieldError::new("text", "blank")];
        let json = body(Error::Invalid(faults).into_response()).await;
        assert_eq!(json["status"], 422);
        assert_eq!(json["errors"][1], serde_json::json!({"field": "text", "message": "blank"}));
    }

    #[tokio::test]
    async fn nothing_of_the_inside_is_told() {
        let response = Error::internal("the password of the database").into_response();
        assert!(response.extensions().get::<Cause>().is_some());
        assert!(!body(response).await.to_string().contains("password"));
    }

    #[test]
    fn waits_are_rounded_up_and_401_says_how() {
        let retry_after = Duration::from_millis(1001);
        let response = Error::RateLimited { limit: "logins", retry_after }.into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(Error::Unauthenticated.into_response().headers()[WWW_AUTHENTICATE], "Bearer");
        let expired = Error::TokenExpired.into_response();
        assert_eq!(expired.headers()[WWW_AUTHENTICATE], "Bearer error=\"invalid_token\"");
    }
}
