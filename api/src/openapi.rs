//! The OpenAPI 3.1 document: what the handlers declare of themselves, with the problems that every
//! call may answer.
//!
//! A handler names its own codes in `x-problems`; here they become responses, with an example
//! each, made by the same [`Error`] that answers them.

mod introduction;
mod shapes;

pub(crate) use shapes::TIME;

use crate::routes::online::GatewayPaths;
use crate::routes::pages::About;
use crate::routes::{BODY_MAY_BE_MISSING, KEYED};
use messenger_common::config::Limits;
use messenger_common::error::Error;
use messenger_common::http::idempotency::{IDEMPOTENCY_KEY, MAX_KEY_CHARS};
use messenger_common::http::problem::Problem;
use serde_json::{Map, Value, json};
use utoipa::openapi::security::{Flow, HttpAuthScheme, HttpBuilder, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::openapi::{ContactBuilder, Info, License, OpenApi};
use utoipa::{OpenApi as _, PartialSchema, ToSchema};

/// The groups of calls, in the document's order.
const TAGS: [(&str, &str); 8] = [
    ("auth", "Accounts and sessions"),
    ("users", "Find other users"),
    ("chats", "Groups and private chats"),
    ("members", "Add, list and remove members; change their roles"),
    ("invites", "Invite users into groups"),
    ("messages", "Send, read, edit and delete messages"),
    ("presence", "See who is online"),
    ("pages", "About this program"),
];

/// There is no other address that every deployment has.
pub(crate) const CONTACT: &str = "The people who run this server";

/// The document of these handlers, as JSON.
pub(crate) fn document(about: &About, limits: &Limits, handlers: OpenApi) -> Value {
    let mut document = GatewayPaths::openapi();
    document.merge(handlers);
    document.info = Info::new(&about.name, &about.version);
    document.info.description = Some(format!("{}\n\n{}", about.description, introduction::TEXT));
    document.info.contact = Some(ContactBuilder::new().name(Some(CONTACT)).build());
    let mut license = License::new("MIT");
    license.identifier = Some("MIT".to_owned());
    document.info.license = Some(license);
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(
        "bearer".to_owned(),
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build()).into(),
    );
    let flow = Password::new("auth/login", Scopes::new());
    components.security_schemes.insert(
        "password".to_owned(),
        SecurityScheme::OAuth2(OAuth2::with_description(
            [Flow::Password(flow)],
            "Your username, or your e-mail address, and your password",
        ))
        .into(),
    );
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    components.schemas.extend(schemas);
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["servers"] = json!([{"url": ".", "description": "This program, or the load balancer in front of it"}]);
    document["tags"] =
        TAGS.iter().map(|(name, description)| json!({"name": name, "description": description})).collect();
    for body in ["SendMessage", "EditMessage"] {
        document["components"]["schemas"][body]["properties"]["text"]["maxLength"] = limits.max_message_chars.into();
    }
    document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] = every_code().into();
    shapes::complete(&mut document);
    finish(&mut document);
    document
}

fn finish(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    // With or without a slash behind it is the same path; the document has it without.
    if let Some(chats) = paths.remove("/chats/") {
        paths.insert("/chats".to_owned(), chats);
    }
    for (path, item) in paths {
        if KEYED.contains(&path.as_str()) {
            take_key(&mut item["post"]);
        }
        if BODY_MAY_BE_MISSING.contains(&path.as_str()) {
            item["post"]["requestBody"]["required"] = false.into();
        }
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            add_problems(path, operation);
        }
    }
}

/// Adds the header that makes a repetition harmless, and its problems.
fn take_key(operation: &mut Value) {
    let header = json!({
        "name": IDEMPOTENCY_KEY, "in": "header", "required": false,
        "description": "A key of your own for this request. If you repeat the request with it within 24 hours, you \
            get the first answer again and nothing is made twice.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS},
    });
    for (list, more) in
        [("parameters", vec![header]), ("x-problems", vec![json!("idempotency_key_reused"), json!("in_progress")])]
    {
        match operation[list].as_array_mut() {
            Some(all) => all.extend(more),
            None => operation[list] = more.into(),
        }
    }
}

/// Turns an operation's `x-problems` into responses, and adds what every call of its kind may
/// answer.
fn add_problems(path: &str, operation: &mut Value) {
    let Some(operation) = operation.as_object_mut() else { return };
    let own = operation.remove("x-problems");
    let mut codes: Vec<String> = own
        .and_then(|own| own.as_array().cloned())
        .into_iter()
        .flatten()
        .filter_map(|code| Some(code.as_str()?.to_owned()))
        .collect();
    let mut add = |more: &[&str]| codes.extend(more.iter().map(|&code| code.to_owned()));
    // Of a user, or of an address.
    add(&["rate_limited"]);
    if operation.contains_key("security") {
        add(&["unauthenticated", "token_invalid", "token_expired"]);
        // The token by itself, or a name and a password to get one.
        operation.insert("security".to_owned(), json!([{"bearer": []}, {"password": []}]));
    } else {
        // An empty requirement: said to be public, not forgotten.
        operation.insert("security".to_owned(), json!([]));
    }
    if operation.contains_key("requestBody") {
        add(&["bad_json", "request_timeout", "too_large", "unsupported_media_type", "invalid"]);
    }
    if path.contains('{') {
        add(&["not_found"]);
    }
    if path != "/" {
        add(&["internal", "unavailable"]);
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for error in Error::one_of_each().iter().filter(|error| codes.iter().any(|code| code == error.code())) {
        let response = responses.entry(error.status().to_string()).or_insert_with(|| {
            json!({"description": "", "content": {"application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}}})
        });
        let examples = &response["content"]["application/problem+json"]["examples"];
        if examples.get(error.code()).is_some() {
            continue;
        }
        let description = response["description"].as_str().unwrap_or_default();
        let comma = if description.is_empty() { "" } else { ", " };
        response["description"] = format!("{description}{comma}`{}`", error.code()).into();
        response["content"]["application/problem+json"]["examples"][error.code()] = json!({"value": problem(error)});
        if let Error::RateLimited { .. } | Error::Unavailable(_) = error {
            response["headers"] = json!({"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}});
        }
    }
}

fn problem(error: &Error) -> Value {
    serde_json::to_value(Problem::of(error)).unwrap_or_default()
}

/// The codes that a problem may bear.
pub(crate) fn every_code() -> Vec<&'static str> {
    let mut codes: Vec<_> = Error::one_of_each().iter().map(Error::code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

#[cfg(test)]
pub(crate) mod tests;
