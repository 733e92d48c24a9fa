//! A REST client that says what was answered when it is not what a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::{Method, RequestBuilder, header};
use serde_json::Value;

use super::SOON;
use super::documents::{self, Answered};

/// A client of all nodes: a path of the gateways goes to the next gateway, all else to the next
/// api, as a load balancer without sticky sessions would do it.
#[derive(Clone)]
pub struct Rest {
    http: reqwest::Client,
    apis: Arc<[String]>,
    gateways: Arc<[String]>,
    turn: Arc<AtomicUsize>,
    bearer: Option<String>,
}

impl Rest {
    /// A client of the nodes at these addresses, beginning with the `turn`th of each.
    pub fn new(apis: Vec<String>, gateways: Vec<String>, turn: usize) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(SOON)
            .build()
            .unwrap();
        Self {
            http,
            apis: apis.into(),
            gateways: gateways.into(),
            turn: Arc::new(AtomicUsize::new(turn)),
            bearer: None,
        }
    }

    /// The same client with another access token.
    #[must_use]
    pub fn with_bearer(&self, token: &str) -> Self {
        Self { bearer: Some(token.to_owned()), ..self.clone() }
    }

    /// The same client without a token.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { bearer: None, ..self.clone() }
    }

    /// The same client with all its requests to the `n`th api and the `n`th gateway.
    #[must_use]
    pub fn on(&self, n: usize) -> Self {
        let only = |urls: &[String]| Arc::from(vec![urls[n % urls.len()].clone()]);
        Self { apis: only(&self.apis), gateways: only(&self.gateways), ..self.clone() }
    }

    /// The whole address that a request for `path` goes to now.
    pub fn url(&self, path: &str) -> String {
        let urls = if path.starts_with("/ws/") { &self.gateways } else { &self.apis };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        format!("{}{path}", urls[turn % urls.len()])
    }

    /// A request that a test completes itself.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match &self.bearer {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(&body)).await
    }

    /// A `POST` without a body.
    pub async fn post_nothing(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::POST, path)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).json(&body)).await
    }

    /// A `PUT` without a body.
    pub async fn put_nothing(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::PUT, path)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// method and address, for the text of a failure
    pub request: String,
    pub status: u16,
    pub headers: header::HeaderMap,
    pub body: String,
    /// the body, where it is JSON, else null
    pub json: Value,
}

impl Answer {
    /// Sends the request and reads the whole answer.
    pub async fn of(request: RequestBuilder) -> Self {
        match Self::try_of(request).await {
            Ok(answer) => answer,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The same, for requests that may find nobody.
    pub async fn try_of(request: RequestBuilder) -> reqwest::Result<Self> {
        let (client, request) = request.build_split();
        let request = request?;
        let shown = format!("{} {}", request.method(), request.url());
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let answer = client.execute(request).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.text().await?;
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default();
        if let Some(documents) = documents::served().await {
            let answered = Answered { method: method.as_str(), path: &path, status, media_type, body: &body };
            let fault = documents.fault_of_answer(&answered);
            assert!(fault.is_none(), "{shown} answered {status} {body}, but the document: {}", fault.unwrap());
        }
        Ok(Self { request: shown, status, headers, json: serde_json::from_str(&body).unwrap_or(Value::Null), body })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{} answered {}: {}", self.request, self.status, self.body);
        self.json
    }

    /// The problem document of an answer that must have this status and code; its shape is checked
    /// too.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        let what = format!("{} answered {}: {}", self.request, self.status, self.body);
        assert_eq!((self.status, self.json["code"].as_str()), (status, Some(code)), "{what}");
        assert_eq!(
            self.header("content-type").map(|kind| kind.split(';').next().unwrap()),
            Some("application/problem+json"),
            "{what}"
        );
        assert_eq!(self.json["status"], status, "{what}");
        for member in ["type", "title", "detail"] {
            assert!(self.json[member].is_string(), "{member}: {what}");
        }
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{what}");
        self.json
    }

    /// The names of the faulty fields of a 422 `invalid`, sorted.
    #[track_caller]
    pub fn faulty_fields(self) -> Vec<String> {
        let problem = self.problem(422, "invalid");
        let faults = problem["errors"].as_array().cloned().unwrap_or_default();
        assert!(!faults.is_empty(), "a 422 without `errors`: {problem}");
        let mut fields = Vec::new();
        for fault in faults {
            let message = fault["message"].as_str().unwrap_or_default();
            assert!(!message.is_empty(), "a fault without a message: {problem}");
            fields.push(fault["field"].as_str().expect("a field").to_owned());
        }
        fields.sort();
        fields
    }
}
