//! What the handlers' own declarations cannot say: which fields are always there, that a page has
//! the rows that a call of one has, how times look, and an example of every body.

use crate::samples::{Samples, known};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const SHAPES: &str = "#/components/schemas/";
/// Fields that an answer may leave out. All others are there, null where they have no value.
const LEFT_OUT: [(&str, &str); 2] = [("Problem", "errors"), ("Reaction", "me")];
/// Contract, section 2: six digits of a second's fraction, always.
pub(crate) const TIME: &str = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$";

/// Completes the shapes, then gives every body an example.
pub(super) fn complete(document: &mut Value) {
    refer_to_rows(document);
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations: Vec<&Value> =
        paths.flat_map(|(_, item)| item.as_object().into_iter().flat_map(Map::values)).collect();
    let named = |part: &str| {
        let mut names = BTreeSet::new();
        for operation in &operations {
            collect(document, &operation[part], &mut names);
        }
        names
    };
    let (sent, answered) = (named("requestBody"), named("responses"));
    for (name, shape) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        if answered.contains(name) {
            always_there(name, shape);
            write_times(shape);
        } else if sent.contains(name) {
            defaults_are_optional(shape);
        }
    }
    let shapes = document["components"]["schemas"].clone();
    let samples = Samples { shapes: &shapes };
    for item in document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            exemplify(&samples, operation);
        }
    }
}

/// A page of a list has the rows' own shape in it, not a copy of it.
fn refer_to_rows(document: &mut Value) {
    let Some(shapes) = document["components"]["schemas"].as_object_mut() else { return };
    let names: BTreeSet<String> = shapes.keys().cloned().collect();
    for (page, shape) in shapes {
        if let Some(row) = page.strip_prefix("Page_").filter(|row| names.contains(*row)) {
            shape["properties"]["items"]["items"] = json!({"$ref": format!("{SHAPES}{row}")});
        }
    }
}

/// The names of the shapes that `part` refers to, directly or not.
fn collect(document: &Value, part: &Value, names: &mut BTreeSet<String>) {
    match part {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(SHAPES))
                && names.insert(name.to_owned())
            {
                collect(document, &document["components"]["schemas"][name], names);
            }
            fields.values().for_each(|field| collect(document, field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(document, item, names)),
        _ => {}
    }
}

fn always_there(name: &str, shape: &mut Value) {
    let Some(properties) = shape.get_mut("properties").and_then(Value::as_object_mut) else { return };
    let left_out = |field: &str| LEFT_OUT.contains(&(name, field));
    for (_, field) in properties.iter_mut().filter(|(field, _)| left_out(field)) {
        // Left out in place of null.
        if let Some(kind) = field["type"].as_array().and_then(|all| all.first()).cloned() {
            field["type"] = kind;
        }
    }
    // The declared order first: readers see it.
    let mut required = shape["required"].as_array().cloned().unwrap_or_default();
    let more: Vec<_> = shape["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
    for field in more.into_iter().filter(|field| !left_out(field)) {
        if !required.contains(&json!(field)) {
            required.push(field.into());
        }
    }
    if shape["type"] == "object" {
        shape["required"] = required.into();
    }
}

/// A field with a default need not be sent. The default stands in the words: generators take one
/// in the schema for a field that is always there.
fn defaults_are_optional(shape: &mut Value) {
    let mut optional = Vec::new();
    let fields = shape.get_mut("properties").and_then(Value::as_object_mut);
    for (name, field) in fields.into_iter().flatten() {
        let Some(default) = field.as_object_mut().and_then(|field| field.remove("default")) else { continue };
        let about = field["description"].as_str().unwrap_or_default();
        field["description"] = format!("{about} Default: `{default}`.").trim_start().into();
        optional.push(json!(name));
    }
    let Some(required) = shape.get_mut("required").and_then(Value::as_array_mut) else { return };
    required.retain(|name| !optional.contains(name));
    if required.is_empty()
        && let Some(shape) = shape.as_object_mut()
    {
        shape.remove("required");
    }
}

fn write_times(part: &mut Value) {
    match part {
        Value::Object(fields) => {
            if fields.get("format").is_some_and(|format| format == "date-time") {
                fields.insert("pattern".to_owned(), TIME.into());
            }
            fields.values_mut().for_each(write_times);
        }
        Value::Array(items) => items.iter_mut().for_each(write_times),
        _ => {}
    }
}

fn exemplify(samples: &Samples<'_>, operation: &mut Value) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        let example = match (name, parameter["in"].as_str()) {
            ("user_id", Some("path")) => known("recipient_id"),
            ("code" | "emoji", _) => known(name),
            (_, Some("path")) => Some(json!(1)),
            (_, Some("query")) if parameter["required"] == true => known(name),
            _ => None,
        };
        if let Some(example) = example {
            parameter["example"] = example;
        }
    }
    let contents = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut);
    for content in contents.into_iter().flat_map(Map::values_mut) {
        content["example"] = samples.least(&content["schema"]);
    }
    for response in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(content) = response.pointer_mut("/content/application~1json") {
            content["example"] = samples.whole(&content["schema"]);
        }
    }
}
