use super::SHAPES;
use serde_json::Value;

/// Where `value` is not as `schema` has it, in as much of JSON Schema as our documents use.
pub(crate) fn faults(shapes: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(shapes, schema, value, "", &mut found);
    found
}

fn check(shapes: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.strip_prefix(SHAPES)) {
        return check(shapes, &shapes[name], value, at, found);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        // Each part describes some of the fields.
        let of_part =
            |part| faults(shapes, part, value).into_iter().filter(|fault| !fault.ends_with(" is not described"));
        found.extend(parts.iter().flat_map(of_part));
        return;
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        if !choices.iter().any(|choice| faults(shapes, choice, value).is_empty()) {
            found.push(format!("{at}: {value} is none of {choices:?}"));
        }
        return;
    }
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    let is = |kind: &Value| match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("null") => value.is_null(),
        _ => false,
    };
    if !kinds.iter().any(is) {
        found.push(format!("{at}: {value} is no {kinds:?}"));
    }
    let fixed = schema.get("const").is_none_or(|one| one == value);
    let listed = schema["enum"].as_array().is_none_or(|all| all.contains(value));
    if !fixed || !listed {
        found.push(format!("{at}: {value} is not as {schema}"));
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(of) => check(shapes, of, field, &format!("{at}/{name}"), found),
            None => found.push(format!("{at}/{name} is not described")),
        }
    }
    let required = schema["required"].as_array().filter(|_| value.is_object());
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{at}/{name} is missing"));
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(shapes, &schema["items"], item, &format!("{at}/{index}"), found);
    }
}
