//! The long form: the steps of a build, the Dockerfile, and which step stands where in it.
//!
//! Steps have the shape of BuildKit's: an `op` as its own printer writes it, and inputs that name
//! the output of another step (`step0:0`). The last one does nothing; it says what the result is.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_oci::{Descriptor, Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The steps of a build and the text they come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// What was done, inputs first.
    pub steps: Vec<Step>,
    /// The Dockerfile.
    pub source: SourceText,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it does; nothing for the last.
    pub op: Value,
    /// The steps that it needs, by number.
    pub inputs: Vec<usize>,
    /// The lines of the Dockerfile that ask for it, first and last.
    pub lines: Option<(usize, usize)>,
    /// How many layers of the image its result consists of, if it is a part of the image.
    pub layers: usize,
}

/// A text that a build was described by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceText {
    /// What it is called.
    pub file_name: String,
    /// All of it.
    pub text: String,
}

impl Detail {
    /// The steps in BuildKit's form.
    pub(super) fn build_config(&self) -> Value {
        definition(&self.steps)
    }

    /// The Dockerfile, and where in it each step stands.
    pub(super) fn source(&self) -> Value {
        let mut locations = Map::new();
        for (number, step) in self.steps.iter().enumerate() {
            let Some((first, last)) = step.lines else {
                continue;
            };
            let range = json!({ "start": { "line": first }, "end": { "line": last } });
            let location = json!({ "locations": [{ "ranges": [range] }] });
            locations.insert(name(number), location);
        }
        let mut info = json!({
            "filename": self.source.file_name,
            "language": "Dockerfile",
            "data": base64(&self.source.text),
        });
        let reading = [
            Step {
                op: json!({ "Op": { "source": { "identifier": "local://dockerfile" } } }),
                inputs: Vec::new(),
                lines: None,
                layers: 0,
            },
            Step::result(0),
        ];
        if let (Value::Object(info), Value::Object(read)) = (&mut info, definition(&reading)) {
            info.extend(read);
        }
        json!({ "locations": locations, "infos": [info] })
    }

    /// The layers that the results of steps consist of.
    pub(super) fn layers(&self, layers: &[Descriptor]) -> Map<String, Value> {
        let mut named = Map::new();
        for (number, step) in self.steps.iter().enumerate() {
            let Some(own) = layers.get(..step.layers).filter(|own| !own.is_empty()) else {
                continue;
            };
            let own: Vec<Value> = own
                .iter()
                .map(|layer| {
                    let (kind, digest) = (layer.media_type.as_str(), layer.digest.as_str());
                    json!({ "mediaType": kind, "digest": digest, "size": layer.size })
                })
                .collect();
            named.insert(output(number), json!([own]));
        }
        named
    }
}

/// Bytes as they stand in JSON.
pub fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

impl Step {
    /// The step at the end, which says what the result is.
    pub fn result(of: usize) -> Self {
        Self {
            op: json!({ "Op": null }),
            inputs: vec![of],
            lines: None,
            layers: 0,
        }
    }
}

fn name(number: usize) -> String {
    format!("step{number}")
}

fn output(number: usize) -> String {
    format!("step{number}:0")
}

/// Steps with their names, and the names by what the steps are.
fn definition(steps: &[Step]) -> Value {
    let mut digests: Vec<Digest> = Vec::new();
    let mut mapping = BTreeMap::new();
    let mut definition = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let inputs: Vec<&str> = step.inputs.iter().map(|it| digests[*it].as_str()).collect();
        let identity = json!({ "op": step.op, "inputs": inputs });
        let digest = Digest::sha256(identity.to_string().as_bytes());
        mapping.insert(digest.to_string(), name(number));
        digests.push(digest);
        let mut value = json!({ "id": name(number), "op": step.op });
        if !step.inputs.is_empty() {
            let inputs: Vec<String> = step.inputs.iter().map(|it| output(*it)).collect();
            value["inputs"] = inputs.into();
        }
        definition.push(value);
    }
    json!({ "llbDefinition": definition, "digestMapping": mapping })
}
