//! Labels of items: `listLabels` and `modifyLabels`. Which labels an organisation has is not kept: any id is one.
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::{Answer, Drive};
use crate::{Request, Response, World};

/// What sets a field, and the type that it then has.
const SETTERS: &[(&str, &str)] = &[
    ("setTextValues", "text"),
    ("setIntegerValues", "integer"),
    ("setDateValues", "dateString"),
    ("setSelectionValues", "selection"),
    ("setUserValues", "user"),
];

impl Drive {
    pub(super) fn list_labels(&self, id: &str, request: &Request) -> Answer {
        let item = self.find(id, request)?;
        let labels: Vec<Value> = item.labels.iter().map(|(id, fields)| show(id, fields)).collect();
        Ok(Response::json(200, &json!({ "kind": "drive#labelList", "labels": labels })))
    }

    pub(super) fn modify_labels(&mut self, id: &str, request: &Request, world: &World) -> Answer {
        let mut item = self.writable(id, request)?.clone();
        let wrong = || Failure::invalid("invalid", "Invalid label modification");
        let body = request.json().ok_or_else(wrong)?;
        let mut modified = Vec::new();
        for change in body.get("labelModifications").and_then(Value::as_array).ok_or_else(wrong)? {
            let label = change.get("labelId").and_then(Value::as_str).ok_or_else(wrong)?;
            if change.get("removeLabel") == Some(&json!(true)) {
                item.labels.remove(label);
                continue;
            }
            let fields = item.labels.entry(label.to_owned()).or_default();
            for change in change.get("fieldModifications").and_then(Value::as_array).into_iter().flatten() {
                let field = change.get("fieldId").and_then(Value::as_str).ok_or_else(wrong)?;
                if change.get("unsetValues") == Some(&json!(true)) {
                    fields.remove(field);
                    continue;
                }
                let set = SETTERS.iter().find_map(|(setter, kind)| Some((*kind, change.get(*setter)?)));
                let (kind, values) = set.ok_or_else(wrong)?;
                let mut value = Map::from_iter([("kind".to_owned(), json!("drive#labelField"))]);
                value.extend([("id".to_owned(), json!(field)), ("valueType".to_owned(), json!(kind))]);
                value.insert(kind.to_owned(), values.clone());
                fields.insert(field.to_owned(), Value::Object(value));
            }
            modified.push(show(label, fields));
        }
        self.store.put(item, world.now());
        Ok(Response::json(200, &json!({ "kind": "drive#modifyLabelsResponse", "modifiedLabels": modified })))
    }
}

fn show(id: &str, fields: &Map<String, Value>) -> Value {
    json!({ "kind": "drive#label", "id": id, "revisionId": "1", "fields": fields })
}
