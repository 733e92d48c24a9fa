//! Every answer and every frame that a test reads is held against the documents that the program
//! serves: what they do not describe, fails. Strictly: a field that a document does not know is a
//! fault, too.
//!
//! Nodes of another release serve other documents, so nothing is held against these once a test
//! starts such a node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jsonschema::Validator;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Node, Program, SOON};

/// Answers of a load balancer whose programs are away.
const OF_PROXIES: [u16; 2] = [502, 504];
const PROBLEM: &str = "application/problem+json";

static SERVED: OnceCell<Documents> = OnceCell::const_new();
static OTHER_RELEASES: AtomicBool = AtomicBool::new(false);
static ANSWERS: AtomicUsize = AtomicUsize::new(0);
static FRAMES: AtomicUsize = AtomicUsize::new(0);

/// How many answers and frames were held against a shape so far.
pub fn checked() -> (usize, usize) {
    (ANSWERS.load(Ordering::Relaxed), FRAMES.load(Ordering::Relaxed))
}

/// From now on nodes of another release answer, too.
pub(super) fn stand_back() {
    OTHER_RELEASES.store(true, Ordering::Relaxed);
}

/// The documents of a program of their own: no test counts the requests that read them.
pub(super) async fn served() -> Option<&'static Documents> {
    if OTHER_RELEASES.load(Ordering::Relaxed) {
        return None;
    }
    Some(SERVED.get_or_init(read).await)
}

async fn read() -> Documents {
    let env = [("HOST", "127.0.0.1"), ("DATABASE_URL", "sqlite:documents.db"), ("SECRET_KEY", "documents")];
    let env = BTreeMap::from(env.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let start = || {
        let node = Node::start("documents", Program::Messenger, env)?;
        node.wait_ready().map(|()| node)
    };
    let node = super::blocking(start).await.unwrap_or_else(|error| panic!("{error}"));
    let http = reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap();
    let one = async |name: &str| -> Value {
        http.get(format!("{}/{name}", node.url())).send().await.unwrap().json().await.unwrap()
    };
    Documents::new(one("openapi.json").await, one("asyncapi.json").await)
}

/// The two documents, without a field that is not named.
pub(super) struct Documents {
    openapi: Value,
    asyncapi: Value,
    /// Made at the first use of each shape.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// An answer as it came.
pub(super) struct Answered<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) status: u16,
    pub(super) media_type: &'a str,
    pub(super) body: &'a str,
}

impl Documents {
    pub(super) fn new(mut openapi: Value, mut asyncapi: Value) -> Self {
        for document in [&mut openapi, &mut asyncapi] {
            let shapes = document["components"]["schemas"].clone();
            close(document, &shapes);
        }
        Self { openapi, asyncapi, validators: Mutex::default() }
    }

    /// What the document does not describe of an answer. Paths that are not in it are nobody's,
    /// but for the problems that they answer.
    pub(super) fn fault_of_answer(&self, answer: &Answered<'_>) -> Option<String> {
        let &Answered { method, path, status, media_type, body } = answer;
        if OF_PROXIES.contains(&status) {
            return None;
        }
        let (name, schema) = match self.operation(method, path) {
            Some((template, operation)) => {
                let response = &operation["responses"][status.to_string()];
                if !response.is_object() {
                    return Some(format!("no answer {status} of {method} {template}"));
                }
                let content = response["content"].as_object();
                if let Some(fault) = fault_of_code(response, media_type, body) {
                    return Some(format!("{fault} of the answer {status} of {method} {template}"));
                }
                match content {
                    Some(content) if !content.contains_key(media_type) => {
                        return Some(format!("no {media_type:?} in the answer {status} of {method} {template}"));
                    }
                    Some(content) if media_type.ends_with("json") => {
                        (format!("{method} {template} {status} {media_type}"), &content[media_type]["schema"])
                    }
                    Some(_) => return None,
                    None if body.is_empty() => return None,
                    None => return Some(format!("no body in the answer {status} of {method} {template}")),
                }
            }
            None if media_type == PROBLEM => (PROBLEM.to_owned(), &self.openapi["components"]["schemas"]["Problem"]),
            None => return None,
        };
        ANSWERS.fetch_add(1, Ordering::Relaxed);
        match serde_json::from_str(body) {
            Ok(value) => self.fault(&self.openapi, &name, schema, &value),
            Err(error) => Some(format!("{name}: {error}")),
        }
    }

    /// What the document does not describe of a frame of the server.
    pub(super) fn fault_of_frame(&self, frame: &Value) -> Option<String> {
        let kind = frame["type"].as_str().unwrap_or_default();
        let payload = &self.asyncapi["components"]["messages"][kind]["payload"];
        FRAMES.fetch_add(1, Ordering::Relaxed);
        self.fault(&self.asyncapi, &format!("frame {kind:?}"), payload, frame)
    }

    /// What the document does not describe of the answer to a command.
    pub(super) fn fault_of_reply(&self, command: &Value, frame: &Value) -> Option<String> {
        let (command, kind) = (command["type"].as_str()?, frame["type"].as_str()?);
        let operation = self.asyncapi["operations"].get(command).filter(|_| kind != "error")?;
        let replies = operation["reply"]["messages"].as_array();
        let named = |reply: &Value| reply["$ref"].as_str().is_some_and(|to| to.ends_with(&format!("/{kind}")));
        (!replies.is_some_and(|replies| replies.iter().any(named))).then(|| format!("no reply {kind:?} to {command:?}"))
    }

    /// The call of that address; one without a parameter comes before one with.
    fn operation(&self, method: &str, path: &str) -> Option<(&str, &Value)> {
        let path = if path == "/" { path } else { path.trim_end_matches('/') };
        let found = self.openapi["paths"].as_object()?.iter().filter(|(template, _)| fits(template, path));
        let (template, item) = found.min_by_key(|(template, _)| template.matches('{').count())?;
        item.get(method.to_lowercase()).map(|operation| (template.as_str(), operation))
    }

    fn fault(&self, document: &Value, name: &str, schema: &Value, value: &Value) -> Option<String> {
        if !schema.is_object() {
            return Some(format!("no shape of {name}"));
        }
        let validator = self.validator(document, name, schema);
        if validator.is_valid(value) {
            return None;
        }
        let faults: Vec<_> =
            validator.iter_errors(value).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
        Some(format!("{name}: {}", faults.join("; ")))
    }

    fn validator(&self, document: &Value, name: &str, schema: &Value) -> Arc<Validator> {
        let make = || {
            let mut whole = schema.clone();
            whole["components"] = json!({"schemas": document["components"]["schemas"]});
            let made = jsonschema::options().should_validate_formats(true).build(&whole);
            Arc::new(made.unwrap_or_else(|error| panic!("the shape of {name}: {error}")))
        };
        Arc::clone(self.validators.lock().entry(name.to_owned()).or_insert_with(make))
    }
}

/// A code that the answer's document does not name.
fn fault_of_code(response: &Value, media_type: &str, body: &str) -> Option<String> {
    let problem: Value = serde_json::from_str(body).ok().filter(|_| media_type == PROBLEM)?;
    let code = problem["code"].as_str().unwrap_or_default();
    let named = response["content"][PROBLEM]["examples"].get(code).is_some();
    (!named).then(|| format!("no code {code:?}"))
}

/// No object has a field that its shape does not name. Parts that make up one object become one.
fn close(part: &mut Value, shapes: &Value) {
    if let Some(parts) = part.get("allOf").and_then(Value::as_array).cloned() {
        *part = json!({"type": "object", "properties": {}, "required": []});
        for one in &parts {
            let name = one["$ref"].as_str().and_then(|to| to.strip_prefix("#/components/schemas/"));
            let one = name.map_or(one, |name| &shapes[name]);
            for (name, field) in one["properties"].as_object().into_iter().flatten() {
                part["properties"][name] = field.clone();
            }
            let required = one["required"].as_array().into_iter().flatten().cloned();
            part["required"].as_array_mut().unwrap().extend(required);
        }
    }
    match part {
        Value::Object(fields) => {
            if fields.get("type").is_some_and(|kind| kind == "object") && fields.contains_key("properties") {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(|field| close(field, shapes));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, shapes)),
        _ => {}
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let fits = |(one, other): (&&str, &&str)| one == other || (one.starts_with('{') && !other.is_empty());
    template.len() == path.len() && template.iter().zip(&path).all(fits)
}

#[cfg(test)]
mod tests;
