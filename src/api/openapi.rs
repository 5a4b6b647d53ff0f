//! The OpenAPI 3.1 text, made from the table of routes and the types that they take and answer.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use vtl_api::{BASE, PROBLEM_JSON, ProblemDetails};

use super::route::{Does, Route};
use crate::access::rules::{Need, need};

const ABOUT: &str = "The management API of vtl. docs/api.md says what holds for all requests: errors, pages, conditions, keys, events.";

/// The whole text.
pub(super) fn document(routes: &[Route]) -> Value {
    let mut makers = Makers::new();
    let refused = makers.answers.subschema_for::<ProblemDetails>();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        let method = route.method.as_str().to_ascii_lowercase();
        paths.entry(route.path).or_default().insert(method, operation(route, routes, &mut makers));
    }
    let schemas = makers.schemas();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "vtl",
            "version": "1",
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "servers": [{ "url": BASE }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "refused": {
                    "description": "What is said instead.",
                    "content": { PROBLEM_JSON: { "schema": refused } }
                }
            },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } }
        }
    })
}

/// What requests look like, and what answers do, are two things: a member may be left out that is always answered.
struct Makers {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
    parameters: SchemaGenerator,
}

impl Makers {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
            parameters: settings().with(|settings| settings.inline_subschemas = true).into_generator(),
        }
    }

    fn schemas(mut self) -> Map<String, Value> {
        let mut all = self.requests.take_definitions(true);
        all.extend(self.answers.take_definitions(true));
        all
    }
}

fn operation(route: &Route, all: &[Route], makers: &mut Makers) -> Value {
    let mut operation = json!({
        "operationId": id(route),
        "tags": [route.path.split('/').nth(1).unwrap_or_default()],
        "summary": route.summary,
        "parameters": parameters(route, all, makers),
        "responses": responses(route, makers),
    });
    if !route.is_read()
        && let Some(body) = body(route, makers)
    {
        operation["requestBody"] = body;
    }
    if need(route.method.as_str(), route.path) == Some(Need::Open) {
        operation["security"] = json!([]);
    }
    operation
}

fn id(route: &Route) -> String {
    let path: String = route.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let words = path.split('_').filter(|word| !word.is_empty());
    words.fold(route.method.as_str().to_ascii_lowercase(), |id, word| format!("{id}_{word}"))
}

fn parameters(route: &Route, all: &[Route], makers: &mut Makers) -> Vec<Value> {
    let in_path = route.parameters().map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
    });
    let mut parameters: Vec<Value> = in_path.collect();
    if route.is_read() {
        let schema = (route.takes)(&mut makers.parameters).to_value();
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.contains(&name.as_str());
            parameters.push(in_query(name, schema.clone(), is_required));
        }
    }
    parameters.extend(headers(route, all));
    parameters
}

fn in_query(name: &str, schema: Value, required: bool) -> Value {
    let description = schema["description"].clone();
    let mut schema = not_null(schema);
    if let Some(members) = schema.as_object_mut() {
        members.remove("description");
        members.remove("default");
    }
    json!({ "name": name, "in": "query", "required": required, "description": description, "schema": schema })
}

/// A parameter that is not sent is not null.
fn not_null(mut schema: Value) -> Value {
    let is_null = |form: &Value| form["type"] == "null";
    if let Some(forms) = schema["anyOf"].as_array().map(|forms| forms.iter().filter(|form| !is_null(form)))
        && let [one] = forms.collect::<Vec<_>>().as_slice()
    {
        return (*one).clone();
    }
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            schema["type"] = kind.clone();
        }
    }
    schema
}

fn headers(route: &Route, all: &[Route]) -> Vec<Value> {
    let header = |name: &str, description: &str| {
        json!({
            "name": name, "in": "header", "required": false, "description": description,
            "schema": { "type": "string" }
        })
    };
    let mut headers = Vec::new();
    if matches!(route.does, Does::Events) {
        headers.push(header("Last-Event-ID", "The last event that was seen."));
    }
    if route.is_of_one() {
        headers.push(header("If-None-Match", "304 when this tag is still right."));
    }
    if !route.is_read() && super::thing_of(route, all).is_some() {
        headers.push(header("If-Match", "412 when the thing has another tag by now."));
    }
    let is_kept = !route.is_secret && !matches!(route.does, Does::Elsewhere);
    if route.method == axum::http::Method::POST && is_kept {
        let mut key =
            header("Idempotency-Key", "The same key and request again gets the first answer again.");
        key["schema"] = json!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" });
        headers.push(key);
    }
    headers
}

fn body(route: &Route, makers: &mut Makers) -> Option<Value> {
    let shape = (route.takes)(&mut makers.parameters).to_value();
    let takes_none = shape["properties"].as_object().is_none_or(Map::is_empty);
    if takes_none && shape["additionalProperties"] == false {
        return None;
    }
    let required = shape["required"].as_array().is_some_and(|names| !names.is_empty());
    let schema = (route.takes)(&mut makers.requests);
    Some(json!({ "required": required, "content": { "application/json": { "schema": schema } } }))
}

fn responses(route: &Route, makers: &mut Makers) -> Value {
    let media = match route.does {
        Does::Operation(_) | Does::Elsewhere => "application/json",
        Does::Events => "text/event-stream",
    };
    let mut good = json!({
        "description": "As asked.",
        "content": { media: { "schema": (route.answers)(&mut makers.answers) } }
    });
    if route.is_paged {
        let description = "The address of the next page, when there is one.";
        good["headers"] = json!({ "Link": { "description": description, "schema": { "type": "string" } } });
    }
    if route.is_of_one() {
        good["headers"] = json!({ "ETag": { "schema": { "type": "string" } } });
    }
    let mut responses = json!({ "200": good, "default": { "$ref": "#/components/responses/refused" } });
    if route.is_of_one() {
        responses["304"] = json!({ "description": "It is as the tag says." });
    }
    responses
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn text() -> String {
        let document = document(&crate::api::table());
        format!("{}\n", serde_json::to_string_pretty(&document).unwrap())
    }

    #[test]
    fn the_openapi_text_that_is_checked_in_is_current() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        if std::env::var_os("VTL_BLESS").is_some() {
            std::fs::write(&file, text()).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(kept == text(), "docs/openapi.json is old: VTL_BLESS=1 cargo test -p vtld openapi");
    }

    #[test]
    fn every_request_is_in_the_text_but_those_that_the_manual_names() {
        let document = document(&crate::api::table());
        let is_in = |method: &str, path: &str| document["paths"][path].get(method.to_lowercase()).is_some();
        let rows = crate::access::rules::ROUTES.iter().map(|(method, path, _)| (*method, *path));
        let missing: Vec<(&str, &str)> = rows.filter(|(method, path)| !is_in(method, path)).collect();
        let expected =
            [("GET", "/system/diag/bundle"), ("GET", "/metrics"), ("GET", "/session/oidc/callback")];
        assert_eq!(missing, expected);
        let manual = include_str!("../../docs/api.md");
        for (_, path) in missing {
            assert!(manual.contains(&format!("GET {path}`")), "docs/api.md does not name {path}");
        }
    }

    #[test]
    fn what_is_open_to_all_says_so_and_nothing_else_does() {
        let document = document(&crate::api::table());
        let mut open = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                if operation.get("security") == Some(&json!([])) {
                    open.push(format!("{method} {path}"));
                }
            }
        }
        assert_eq!(open, ["post /session", "get /session/oidc", "post /session/oidc", "post /setup"]);
    }

    #[test]
    fn a_type_that_is_asked_and_answered_looks_the_same_in_both() {
        let mut makers = Makers::new();
        for route in crate::api::table() {
            (route.answers)(&mut makers.answers);
            if !route.is_read() {
                (route.takes)(&mut makers.requests);
            }
        }
        let answers = makers.answers.take_definitions(true);
        for (name, schema) in makers.requests.take_definitions(true) {
            assert!(answers.get(&name).is_none_or(|other| *other == schema), "{name} has two forms");
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_no_name_of_an_operation_comes_twice() {
        fn visit(value: &Value, each: &mut dyn FnMut(&str, &Value)) {
            match value {
                Value::Object(members) => members.iter().for_each(|(name, value)| {
                    each(name, value);
                    visit(value, each);
                }),
                Value::Array(items) => items.iter().for_each(|item| visit(item, each)),
                _ => {}
            }
        }
        let document = document(&crate::api::table());
        let (mut references, mut ids) = (0, Vec::new());
        visit(&document, &mut |name, value| {
            if name == "$ref" {
                references += 1;
                let pointer = value.as_str().unwrap().strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{value}");
            }
            if name == "operationId" {
                ids.push(value.to_string());
            }
        });
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert!(references > 100 && ids.len() == count && count > 70, "{references} {count}");
    }
}
